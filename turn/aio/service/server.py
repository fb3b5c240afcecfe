"""The embedded TURN and STUN server: :func:`serve` starts one on UDP, TCP, TLS and DTLS."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING

from stun.address import TransportAddress, TransportProtocol
from stun.aio.link import ALPN_NAT_DISCOVERY, ALPN_TURN
from stun.aio.tls import server_context
from stun.aio.udp import UdpNetwork
from turn.aio.service.driver import TurnServerDriver
from turn.aio.service.log import log_event
from turn.aio.service.sockets import LINUX
from turn.credentials import SharedSecretUsers, StaticUsers, Users, UserStore
from turn.service.allocation import Allocation
from turn.service.config import RelayHost
from turn.service.settings import Listener, ServiceSettings
from turn.service.stats import TurnServerStats

if TYPE_CHECKING:
    from OpenSSL import SSL

__all__ = ["ServerSnapshot", "TurnService", "serve"]

logger = logging.getLogger("turn")

_PORT_TRIES = 20


@dataclass(frozen=True, slots=True)
class ServerSnapshot:
    """How much there is at a moment."""

    allocations: int
    permissions: int
    channels: int
    connections: int
    """Clients over TCP, TLS and DTLS."""
    peer_connections: int
    """RFC 6062."""
    sockets: int
    """Towards peers: relayed addresses and TCP connections."""
    ports: int
    """Relayed ports, reserved ones included."""
    packets_to_peers: int
    bytes_to_peers: int
    packets_to_client: int
    bytes_to_client: int


class TurnService:
    """A running server; :func:`serve` starts one. Also an async context manager that closes it."""

    def __init__(self, driver: TurnServerDriver) -> None:
        self.listening: list[Listener] = []
        """Where it listens, with the real ports."""
        self._driver = driver

    def addresses(self, protocol: TransportProtocol) -> list[TransportAddress]:
        """Return where it listens for clients over one transport."""
        return [listener.address for listener in self.listening if listener.protocol is protocol]

    @property
    def stats(self) -> TurnServerStats:
        """What it has done so far; relayed traffic of allocations that have ended."""
        return self._driver.server.stats

    @property
    def driver(self) -> TurnServerDriver:
        """What runs it."""
        return self._driver

    def snapshot(self) -> ServerSnapshot:
        """Return how much there is now, and the traffic of all allocations, ended or not."""
        server, stats = self._driver.server, self._driver.server.stats
        living: Iterable[Allocation] = server.allocations.values()
        return ServerSnapshot(
            allocations=len(server.allocations),
            permissions=sum(len(allocation.permissions) for allocation in living),
            channels=sum(len(allocation.channels) for allocation in living),
            connections=server.connections,
            peer_connections=server.peer_connections,
            sockets=self._driver.sockets,
            ports=server.ports_in_use,
            packets_to_peers=stats.packets_to_peers + sum(one.packets_to_peers for one in living),
            bytes_to_peers=stats.bytes_to_peers + sum(one.bytes_to_peers for one in living),
            packets_to_client=stats.packets_to_client + sum(one.packets_to_client for one in living),
            bytes_to_client=stats.bytes_to_client + sum(one.bytes_to_client for one in living),
        )

    async def drain(self, patience: float) -> bool:
        """Make no new allocations and wait until the last one has ended; False when ``patience`` (seconds) ran out."""
        server = self._driver.server
        server.drain()
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        while server.allocations and loop.time() < until:  # noqa: ASYNC110 - ends are rare, and nobody hurries
            await asyncio.sleep(min(0.25, max(0.0, until - loop.time())))
        return not server.allocations

    async def close(self) -> None:
        """End everything and free the ports; harmless twice."""
        await self._driver.close()

    async def __aenter__(self) -> TurnService:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def serve(settings: ServiceSettings) -> TurnService:
    """Start a TURN server.

    Args:
        settings: listeners with a wildcard stand for all addresses that the host has now, each bound by itself,
            because an answer has to come from the address that was asked. Port 0 picks one that is free for all
            listeners that have port 0. Without relay hosts in the configuration, relayed addresses are made on the
            addresses that are listened on, one of each family.

    Raises:
        OSError: an address cannot be bound, or a certificate cannot be read.
        ValueError: the settings do not fit together.
    """
    here = [interface.host for interface in UdpNetwork().interfaces()]
    listeners = _expand(settings.listeners, here)
    if not listeners:
        raise OSError(errno.EADDRNOTAVAIL, "this host has none of the addresses to serve")
    hosts = tuple(dict.fromkeys(listener.address.host for listener in listeners))
    # Services of this host are no peers on any of its addresses, served or not.
    own = tuple(dict.fromkeys((*hosts, *here)))
    config = settings.service
    if not config.relays:
        config = replace(config, relays=_default_relays(hosts))
    if not LINUX:
        config = replace(config, dont_fragment=False)  # nothing else lets us set the DF bit of one datagram
    users = _users(settings)
    picks = any(listener.address.port == 0 for listener in listeners)
    for tries_left in reversed(range(_PORT_TRIES if picks else 1)):
        service = TurnService(TurnServerDriver(config, users, own, log_event))
        try:
            await _listen(service, listeners, settings)
        except OSError as error:
            await service.close()
            if error.errno != errno.EADDRINUSE or tries_left == 0:
                raise
        except BaseException:
            await service.close()
            raise
        else:
            return service
    raise AssertionError("the last try returns or raises")


async def _listen(service: TurnService, listeners: Sequence[Listener], settings: ServiceSettings) -> None:
    driver = service.driver
    secure = {listener.protocol for listener in listeners} & {TransportProtocol.TLS, TransportProtocol.DTLS}
    if secure and settings.certificate is None:
        raise ValueError("TLS and DTLS need a certificate")
    alpn = (ALPN_TURN, ALPN_NAT_DISCOVERY)
    picked: dict[bool, int] = {}
    for listener in listeners:
        wanted = listener.address
        is_secure = listener.protocol in secure
        local = TransportAddress(wanted.host, wanted.port or picked.get(is_secure, 0))
        if listener.protocol is TransportProtocol.UDP:
            bound = driver.listen_udp(local)
        elif listener.protocol is TransportProtocol.TCP:
            bound = await driver.listen_tcp(local)
        elif listener.protocol is TransportProtocol.TLS:
            context = await asyncio.to_thread(server_context, str(settings.certificate), settings.private_key, alpn)
            bound = await driver.listen_tls(local, context)
        else:
            # In a thread: the first listener over DTLS loads OpenSSL and cryptography.
            sealed = await asyncio.to_thread(_dtls_context, str(settings.certificate), settings.private_key, alpn)
            bound = await driver.listen_dtls(local, sealed)
        if wanted.port == 0:
            picked[is_secure] = bound.port
        service.listening.append(Listener(protocol=listener.protocol, address=bound))


def _dtls_context(certificate: str, key: str | None, alpn: Sequence[str]) -> SSL.Context:
    from stun.aio.dtls_session import dtls_server_context

    return dtls_server_context(certificate, key, alpn)


def _users(settings: ServiceSettings) -> UserStore:
    stores: list[UserStore] = []
    realm = settings.service.realm
    if settings.users:
        stores.append(StaticUsers(realm, settings.users))
    if settings.shared_secrets:
        stores.append(SharedSecretUsers(realm, settings.shared_secrets, time.time))
    if not stores and settings.service.tokens is None:
        raise ValueError("nobody could sign in: there are neither users nor shared secrets nor token keys")
    return Users(*stores)


def _expand(listeners: Sequence[Listener], here: Sequence[str]) -> list[Listener]:
    found: list[Listener] = []
    for listener in listeners:
        address = ipaddress.ip_address(listener.address.host)
        if address.is_unspecified:
            family = [host for host in here if ipaddress.ip_address(host).version == address.version]
            hosts = [host for host in family if not ipaddress.ip_address(host).is_link_local]
        elif listener.address.host == "::1" and "::1" not in here:
            hosts = []
        else:
            hosts = [listener.address.host]
        found += [
            Listener(protocol=listener.protocol, address=TransportAddress(host, listener.address.port))
            for host in hosts
        ]
    return list(dict.fromkeys(found))


def _default_relays(hosts: Sequence[str]) -> tuple[RelayHost, ...]:
    found: list[RelayHost] = []
    for family in (4, 6):
        of_family = [host for host in hosts if (":" in host) == (family == 6)]
        outside = [host for host in of_family if not ipaddress.ip_address(host).is_loopback]
        if chosen := (outside or of_family)[:1]:
            found.append(RelayHost(host=chosen[0]))
    return tuple(found)
