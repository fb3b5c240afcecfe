"""Multicast DNS on asyncio: what carries out the effects of :mod:`ice.mdns`, with the library ``zeroconf``.

One responder serves all the sessions of a loop; it is made when the first of them needs it and closed after the last.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from ice.mdns import NameEffect, Names, PublishName, ResolveName, WithdrawName
from ice.mdns_config import MdnsConfig
from stun.aio import UdpNetwork
from stun.network import Interface, Network

if TYPE_CHECKING:  # Importing it takes longer than all the rest of ice, and few sessions need it.
    from zeroconf import ServiceInfo
    from zeroconf.asyncio import AsyncZeroconf

__all__ = ["MulticastMissing", "MulticastNames", "NameService", "NamingNetwork", "ZeroconfNames"]

logger = logging.getLogger("ice")

_AUTHORITATIVE_RESPONSE = 0x8400
"""QR and AA, as in every answer of multicast DNS (RFC 6762 section 18)."""


class MulticastMissing(OSError):
    """There is no multicast DNS at all, now or later: the library for it is not installed."""


class MulticastNames(Protocol):
    """What a session needs of multicast DNS."""

    async def resolve(self, name: str, timeout: float) -> Sequence[str]:
        """Return the IP literals that the local network has for ``name``; none after ``timeout`` seconds.

        Raises:
            OSError: multicast DNS cannot be used here.
        """

    async def publish(self, name: str, host: str) -> None:
        """Answer questions for ``name`` with ``host`` until it is withdrawn.

        Raises:
            OSError: multicast DNS cannot be used here.
        """

    def withdraw(self, name: str) -> None:
        """Answer no more questions for ``name``; harmless for one that is not published."""

    async def close(self) -> None:
        """Withdraw what is published and free what was taken; harmless twice."""


@runtime_checkable
class NamingNetwork(Protocol):
    """A :class:`~stun.network.Network` that brings its own multicast DNS, such as a simulated one."""

    def multicast_names(self) -> MulticastNames:
        """Return what one session uses."""


class _Responder:
    """The zeroconf instance of one loop, and how many sessions use it."""

    _of: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, _Responder]] = WeakKeyDictionary()

    def __init__(self, zeroconf: AsyncZeroconf) -> None:
        self.zeroconf = zeroconf
        self.users = 0

    @classmethod
    def take(cls, interfaces: Sequence[Interface]) -> _Responder:
        """Return the running loop's, made on these interfaces if there is none.

        Raises:
            OSError: there are no sockets for it.
        """
        loop = asyncio.get_running_loop()
        responder = cls._of.get(loop)
        if responder is None:
            responder = cls._of[loop] = cls(_open_zeroconf(interfaces))
        responder.users += 1
        return responder

    async def release(self) -> None:
        """One session fewer; the last one closes it."""
        self.users -= 1
        if self.users == 0:
            del self._of[asyncio.get_running_loop()]
            await self.zeroconf.async_close()


def _load() -> None:
    """Import the library: in a thread, because a loop that does it stands still meanwhile.

    Raises:
        MulticastMissing: it is not there.
    """
    try:
        import zeroconf.asyncio  # noqa: F401
    except ImportError as error:
        raise MulticastMissing(f"the library zeroconf cannot be used: {error}") from error


def _open_zeroconf(interfaces: Sequence[Interface]) -> AsyncZeroconf:
    from zeroconf.asyncio import AsyncZeroconf

    # Not loopback, over which there is no IPv6 multicast, unless that is all there is.
    ipv4 = [each.host for each in interfaces if ":" not in each.host and _is_bindable(each)]
    outside = [host for host in ipv4 if not ipaddress.ip_address(host).is_loopback]
    ipv6: dict[str, str] = {}  # One address of each interface is enough.
    for each in interfaces:
        if ":" in each.host and each.host != "::1" and each.name not in ipv6 and _is_bindable(each):
            ipv6[each.name] = each.host
    try:
        return AsyncZeroconf([*outside, *ipv6.values()] or list(ipv4))
    except RuntimeError as error:  # An address has vanished since.
        raise OSError(f"zeroconf: {error}") from error


def _is_bindable(interface: Interface) -> bool:
    """Whether a socket can be bound to an address: not before it was checked for duplicates, nor once it is gone.

    zeroconf 0.154 leaves the socket open that it could not bind, and we would never see it again.
    """
    host, _, zone = interface.host.partition("%")
    is_ipv6 = ":" in host
    with socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0, 0, socket.if_nametoindex(zone) if zone else 0) if is_ipv6 else (host, 0))
        except OSError:
            return False
    return True


@contextmanager
def _zeroconf_errors() -> Iterator[None]:
    """Make an OSError of what zeroconf raises when it is not running, or not yet."""
    from zeroconf import Error

    try:
        yield
    except Error as error:
        raise OSError(f"zeroconf: {error or type(error).__name__}") from error


class ZeroconfNames:
    """:class:`MulticastNames` of the real network."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._responder: _Responder | None = None
        self._published: dict[str, ServiceInfo] = {}

    def _zeroconf(self) -> AsyncZeroconf:
        if self._responder is None:
            self._responder = _Responder.take(self._network.interfaces())
        return self._responder.zeroconf

    async def resolve(self, name: str, timeout: float) -> Sequence[str]:
        """Ask by multicast until there is an answer or the time is over."""
        await asyncio.to_thread(_load)
        zeroconf = self._zeroconf().zeroconf
        from zeroconf import AddressResolver, IPVersion  # type: ignore[attr-defined]  # not in its __all__

        resolver = AddressResolver(f"{name}.")
        with _zeroconf_errors():
            await resolver.async_request(zeroconf, timeout * 1000)
        return [str(address) for address in resolver.ip_addresses_by_version(IPVersion.All)]

    async def publish(self, name: str, host: str) -> None:
        """Register an address record, and nothing that could be found by looking for services, and announce it."""
        await asyncio.to_thread(_load)
        zeroconf = self._zeroconf().zeroconf
        from zeroconf import AddressResolver  # type: ignore[attr-defined]

        with _zeroconf_errors():
            await zeroconf.async_wait_for_start()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        record = AddressResolver(f"{name}.")
        record.addresses = [socket.inet_pton(family, host)]
        # Not probed for: the name is random (draft section 3.1.1).
        zeroconf.registry.async_add(record)
        self._published[name] = record
        self._announce(record, None)

    def withdraw(self, name: str) -> None:
        """Say goodbye for a record."""
        record = self._published.pop(name, None)
        if record is not None:
            self._zeroconf().zeroconf.registry.async_remove(record)
            self._announce(record, 0)

    def _announce(self, record: ServiceInfo, ttl: int | None) -> None:
        from zeroconf import DNSOutgoing  # type: ignore[attr-defined]

        answer = DNSOutgoing(_AUTHORITATIVE_RESPONSE)
        for address in record.dns_addresses(override_ttl=ttl):
            answer.add_answer_at_time(address, 0)
        self._zeroconf().zeroconf.async_send(answer)

    async def close(self) -> None:
        """Withdraw what is published, and close the responder if nobody else uses it."""
        for name in list(self._published):
            self.withdraw(name)
        responder, self._responder = self._responder, None
        if responder is not None:
            await responder.release()


class NameService:
    """Carries out the name effects of one session."""

    def __init__(self, names: Names, config: MdnsConfig, network: Network, pump: Callable[[], None]) -> None:
        self._names = names
        self._config = config
        self._pump = pump
        self._multicast: MulticastNames | None = None
        if isinstance(network, NamingNetwork):
            self._multicast = network.multicast_names()
        elif isinstance(network, UdpNetwork):
            self._multicast = ZeroconfNames(network)
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ending: asyncio.Task[None] | None = None

    def perform(self, effect: NameEffect) -> None:
        """Begin what the session wants; the answers go to its names."""
        match effect:
            case ResolveName(name):
                self._start(name, self._resolve(name))
            case PublishName(name, host):
                self._start(name, self._publish(name, host))
            case WithdrawName(name):
                if (task := self._tasks.pop(name, None)) is not None:
                    task.cancel()
                if self._multicast is not None:
                    self._multicast.withdraw(name)

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks[name] = self._loop.create_task(work, name=f"ice: {name}")
        task.add_done_callback(lambda done: self._tasks.pop(name, None))

    async def _resolve(self, name: str) -> None:
        addresses: Sequence[str] = ()
        try:
            if self._multicast is not None:
                addresses = await self._multicast.resolve(name, self._config.resolve_timeout)
        except OSError as error:
            self._failed(f"the name {name} cannot be resolved", error)
        self._names.resolved(name, addresses, self._loop.time())
        self._pump()

    async def _publish(self, name: str, host: str) -> None:
        done = False
        try:
            if self._multicast is not None:
                await self._multicast.publish(name, host)
                done = True
        except OSError as error:
            self._failed(f"the name {name} cannot be published", error)
        self._names.published(name, done, self._loop.time())
        self._pump()

    def _failed(self, what: str, error: OSError) -> None:
        if not isinstance(error, MulticastMissing):
            logger.info("%s: %s", what, error)
        elif self._multicast is not None:  # Once a session.
            self._multicast = None
            logger.warning("multicast DNS is off (MdnsConfig.mode is %s): %s", self._config.mode, error)

    def end(self) -> None:
        """The session is over; :meth:`ended` waits for what is left. Harmless twice."""
        if self._ending is None:
            for task in list(self._tasks.values()):
                task.cancel()
            if self._multicast is not None:
                self._ending = self._loop.create_task(self._multicast.close(), name="ice: names end")

    async def ended(self) -> None:
        """Return when everything is freed."""
        if self._ending is not None:
            await asyncio.shield(self._ending)
