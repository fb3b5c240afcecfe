"""WebSockets as a transport: ``/…/tcp/…/ws``, ``/wss`` and ``/tls/ws``, secured with Noise, multiplexed by yamux."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from signalling.errors import DialError
from signalling.libp2p.addresses import Endpoint, endpoint_of, tcp_address, with_peer
from signalling.libp2p.aio.connection import Connection, Direction
from signalling.libp2p.aio.tcp import listening_socket, reachable_hosts
from signalling.libp2p.aio.upgrade import Upgraded, Upgrader
from signalling.libp2p.host_config import HostConfig
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.roles import Role

if TYPE_CHECKING:
    from signalling.libp2p.aio.websocket_server import WebSocketServer
    from signalling.libp2p.aio.websocket_stream import WebSocketStream

__all__ = ["WebSocketTransport"]

logger = logging.getLogger("signalling")

_TAILS = {("ws",): False, ("wss",): True, ("tls", "ws"): True, ("tls", "sni", "ws"): True}
"""What stands behind ``/tcp/…``, and whether it means TLS."""


class _Target(NamedTuple):
    endpoint: Endpoint
    tls: bool
    tail: Multiaddr
    """From ``/ws`` or ``/tls`` on."""

    @property
    def url(self) -> str:
        host = f"[{self.endpoint.host}]" if ":" in self.endpoint.host else self.endpoint.host
        return f"{'wss' if self.tls else 'ws'}://{host}:{self.endpoint.port}/"


class WebSocketTransport:
    """Dials and listens on WebSockets."""

    def __init__(
        self,
        identity: PrivateKey,
        config: HostConfig | None = None,
        rng: random.Random | None = None,
        *,
        server_tls: ssl.SSLContext | None = None,
        client_tls: ssl.SSLContext | None = None,
    ) -> None:
        """``server_tls`` holds the certificate for listening on ``/wss``; ``client_tls`` stands in for the default."""
        self._config = config or HostConfig()
        self._upgrader = Upgrader(identity, self._config.upgrade, rng)
        self._server_tls = server_tls
        self._client_tls = client_tls

    def can_dial(self, address: Multiaddr) -> bool:
        """Whether the address is a WebSocket and nothing on top."""
        return _target(address) is not None

    def can_listen(self, address: Multiaddr) -> bool:
        """Whether the address is a WebSocket at an IP address, with TLS only if there is a certificate."""
        target = _target(address)
        if target is None or "dns" in address.protocols()[0]:
            return False
        return not target.tls or self._server_tls is not None

    async def dial(self, address: Multiaddr, peer: PeerId | None) -> Connection:
        """Connect to ``address``; ``peer`` is who must answer.

        Raises:
            SignallingError: the peer is another one, or a handshake failed.
            OSError: the address cannot be reached.
        """
        target = _target(address)
        if target is None:
            raise DialError(f"{address} is not a WebSocket address")
        open_websocket = await asyncio.to_thread(_open_websocket)
        stream = await open_websocket(target.url, self._client_tls, self._config)
        upgraded = await self._upgrader.upgrade_stream(stream, Role.INITIATOR, peer)
        return self._connection(upgraded, stream, target.tail, Direction.OUTBOUND)

    async def listen(self, address: Multiaddr, accept: Callable[[Connection], None]) -> WebSocketListener:
        """Listen on ``address``; port 0 picks one.

        Raises:
            OSError: the address cannot be bound.
        """
        target = _target(address)
        if target is None or (target.tls and self._server_tls is None):
            raise DialError(f"{address} is not a WebSocket address to listen on")

        async def serve(stream: WebSocketStream) -> None:
            upgraded = await self._upgrader.upgrade_stream(stream, Role.RESPONDER)
            accept(self._connection(upgraded, stream, target.tail, Direction.INBOUND))
            await upgraded.muxer.wait_closed()

        server = (await asyncio.to_thread(_server))(serve, self._config)
        sock = listening_socket(target.endpoint)
        await server.start(sock, self._server_tls if target.tls else None)
        return WebSocketListener(server, target.tail)

    def _connection(
        self, upgraded: Upgraded, stream: WebSocketStream, tail: Multiaddr, direction: Direction
    ) -> Connection:
        peer = upgraded.remote_peer
        return Connection(
            upgraded.muxer,
            remote_peer=peer,
            remote_address=with_peer(_address(stream.remote, tail), peer),
            local_address=_address(stream.local, tail),
            direction=direction,
            negotiation=self._config.upgrade.multistream,
        )


class WebSocketListener:
    """A port that accepts WebSocket connections."""

    def __init__(self, server: WebSocketServer, tail: Multiaddr) -> None:
        self._server = server
        self._tail = tail

    @property
    def addresses(self) -> list[Multiaddr]:
        """Where it can be dialled; every interface's address for one bound to all of them."""
        names = [(name, port) for host, port in self._server.names() for name in reachable_hosts(host)]
        return list(dict.fromkeys(_address(name, self._tail) for name in names))

    async def close(self) -> None:
        """Stop accepting; connections that exist go on. Harmless twice."""
        await self._server.close()


def _address(name: tuple[str, int] | None, tail: Multiaddr) -> Multiaddr:
    return tcp_address(*name).encapsulate(tail) if name is not None else Multiaddr()


def _target(address: Multiaddr) -> _Target | None:
    names = address.protocols()
    last = len(names) - 1 if names[-1:] == ("p2p",) else len(names)
    endpoint = endpoint_of(address)
    if endpoint is None:
        return None
    start = names.index("tcp") + 1
    tls = _TAILS.get(names[start:last])
    return None if tls is None else _Target(endpoint, tls, address[start:last])


# aiohttp takes a quarter of a second to load, which a host over TCP alone does without: the first WebSocket loads it.


def _open_websocket() -> Callable[[str, ssl.SSLContext | None, HostConfig], Awaitable[WebSocketStream]]:
    from signalling.libp2p.aio.websocket_client import open_websocket

    return open_websocket


def _server() -> type[WebSocketServer]:
    from signalling.libp2p.aio.websocket_server import WebSocketServer

    return WebSocketServer
