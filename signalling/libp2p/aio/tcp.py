"""TCP as a transport: ``/ip4|ip6|dns*/…/tcp/…``, secured with Noise, multiplexed by yamux."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Callable

from signalling.errors import DialError, SignallingError
from signalling.libp2p.addresses import Endpoint, endpoint_of, tcp_address, with_peer
from signalling.libp2p.aio.connection import Connection, Direction
from signalling.libp2p.aio.tasks import TaskSet
from signalling.libp2p.aio.upgrade import Upgraded, UpgradeProtocol, Upgrader
from signalling.libp2p.host_config import HostConfig
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.roles import Role
from stun.aio.interfaces import list_interfaces

__all__ = ["TcpTransport", "TurnedAway", "listening_socket", "reachable_hosts"]

logger = logging.getLogger("signalling")

_FAMILIES = {0: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}


class TcpTransport:
    """Dials and listens on TCP."""

    def __init__(
        self, identity: PrivateKey, config: HostConfig | None = None, rng: random.Random | None = None
    ) -> None:
        self._config = config or HostConfig()
        self._upgrader = Upgrader(identity, self._config.upgrade, rng)

    def can_dial(self, address: Multiaddr) -> bool:
        """Whether the address is TCP and nothing on top."""
        return _endpoint(address) is not None

    def can_listen(self, address: Multiaddr) -> bool:
        """Whether the address is TCP at an IP address."""
        endpoint = _endpoint(address)
        return endpoint is not None and endpoint.family != 0 and "dns" not in address.protocols()[0]

    async def dial(self, address: Multiaddr, peer: PeerId | None) -> Connection:
        """Connect to ``address``; ``peer`` is who must answer.

        Raises:
            SignallingError: the peer is another one, or the handshake failed.
            OSError: the address cannot be reached.
        """
        endpoint = _endpoint(address)
        if endpoint is None:
            raise DialError(f"{address} is not a TCP address")
        protocol = self._upgrader.protocol(Role.INITIATOR, peer)
        loop = asyncio.get_running_loop()
        host, port, family = endpoint
        await loop.create_connection(lambda: protocol, host, port, family=_FAMILIES[family], happy_eyeballs_delay=0.25)
        upgraded = await protocol.wait()
        return self.connection(upgraded, Direction.OUTBOUND)

    async def listen(self, address: Multiaddr, accept: Callable[[Connection], None]) -> TcpListener:
        """Listen on ``address``; port 0 picks one, ``0.0.0.0`` and ``::`` mean every interface of their family.

        Raises:
            OSError: the address cannot be bound.
        """
        endpoint = _endpoint(address)
        if endpoint is None:
            raise DialError(f"{address} is not a TCP address")
        listener = TcpListener(self, self._upgrader, accept, self._config)
        await listener.start(endpoint)
        return listener

    def connection(self, upgraded: Upgraded, direction: Direction) -> Connection:
        """Return the connection over an upgraded socket."""
        transport, peer = upgraded.transport, upgraded.remote_peer
        return Connection(
            upgraded.muxer,
            remote_peer=peer,
            remote_address=with_peer(_name(transport, "peername"), peer),
            local_address=_name(transport, "sockname"),
            direction=direction,
            negotiation=self._config.upgrade.multistream,
        )


class TcpListener:
    """A TCP port that accepts connections."""

    def __init__(
        self, transport: TcpTransport, upgrader: Upgrader, accept: Callable[[Connection], None], config: HostConfig
    ) -> None:
        self._transport = transport
        self._upgrader = upgrader
        self._accept = accept
        self._config = config
        self._pending: set[UpgradeProtocol] = set()
        self._tasks = TaskSet()
        self._server: asyncio.Server | None = None

    @property
    def addresses(self) -> list[Multiaddr]:
        """Where it can be dialled; every interface's address for one bound to all of them."""
        if self._server is None:
            return []
        found: dict[Multiaddr, None] = {}
        for sock in self._server.sockets:
            host, port = sock.getsockname()[:2]
            for name in reachable_hosts(host):
                found[tcp_address(name, port)] = None
        return list(found)

    async def start(self, endpoint: Endpoint) -> None:
        """Bind and accept.

        Raises:
            OSError: the address cannot be bound.
        """
        loop = asyncio.get_running_loop()
        sock = listening_socket(endpoint)
        self._server = await loop.create_server(self._make_protocol, sock=sock)

    async def close(self) -> None:
        """Stop accepting; connections that exist go on. Harmless twice."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        await self._tasks.close()

    def _make_protocol(self) -> asyncio.BaseProtocol:
        if len(self._pending) >= self._config.max_pending_inbound:
            return TurnedAway()
        protocol = self._upgrader.protocol(Role.RESPONDER)
        self._pending.add(protocol)
        self._tasks.spawn(self._finish(protocol), "inbound upgrade")
        return protocol

    async def _finish(self, protocol: UpgradeProtocol) -> None:
        try:
            upgraded = await protocol.wait()
        except SignallingError as error:
            logger.debug("inbound connection: %s", error)
            return
        finally:
            self._pending.discard(protocol)
        self._accept(self._transport.connection(upgraded, Direction.INBOUND))


class TurnedAway(asyncio.Protocol):
    """What a connection gets that came when too many were pending: the door."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


def listening_socket(endpoint: Endpoint) -> socket.socket:
    """Return a socket bound to ``endpoint``, its address reusable; an IPv6 one takes no IPv4.

    Raises:
        OSError: the address cannot be bound.
    """
    family = _FAMILIES[endpoint.family]
    address = socket.getaddrinfo(endpoint.host, endpoint.port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)[0]
    # Named, because asyncio turns Nagle's algorithm off only on sockets whose protocol is TCP, not 0.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(address[4])
    except BaseException:
        sock.close()
        raise
    return sock


def reachable_hosts(host: str) -> list[str]:
    """Return ``host``; for an unspecified address those of the interfaces of its family, link-local ones left out."""
    if host not in ("0.0.0.0", "::"):
        return [host]
    is_ipv6 = host == "::"
    return [
        interface.host
        for interface in list_interfaces()
        if (":" in interface.host) is is_ipv6 and "%" not in interface.host
    ]


def _endpoint(address: Multiaddr) -> Endpoint | None:
    """Return the endpoint of an address that is TCP and nothing on top, ``/p2p`` aside."""
    names = address.protocols()
    plain = names[:-1] if names[-1:] == ("p2p",) else names
    return endpoint_of(address) if plain[-1:] == ("tcp",) else None


def _name(transport: asyncio.BaseTransport, kind: str) -> Multiaddr:
    """Return one end of a socket; the empty address when the peer is gone already."""
    name = transport.get_extra_info(kind)
    return tcp_address(name[0], name[1]) if name else Multiaddr()
