"""A native peer: a libp2p host behind a relay, on ``/webrtc``, with chat, files, echo and a place on the roster."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

from pyee.asyncio import AsyncIOEventEmitter

from browser_demo.config import PeerSettings
from browser_demo.peer import chat, echo
from browser_demo.peer.chat import ChatService
from browser_demo.peer.files import FileService, Transferred
from browser_demo.peer.store import FileStore
from browser_demo.peer.words import GREETING, Words
from ice import CandidatePair
from signalling.errors import SignallingError
from signalling.libp2p.aio.connection import Connection
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.presence import PresenceClient
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.aio.tasks import TaskSet
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from webrtc_bridge.config import PeerConfig, WebRtcConfig
from webrtc_bridge.datachannel_streams import DataChannelMuxer
from webrtc_bridge.transport import WebRtcTransport

__all__ = ["NativePeer", "selected_pair"]

logger = logging.getLogger("browser_demo")


def selected_pair(connection: Connection) -> CandidatePair | None:
    """Return the candidate pair that carries ``connection``; None when ICE did not make it."""
    muxer = connection.muxer
    return muxer.peer.session.selected_pair if isinstance(muxer, DataChannelMuxer) else None


class NativePeer(AsyncIOEventEmitter):
    """Use it as an asynchronous context manager.

    Events: ``"connection"(Connection)`` and ``"disconnection"(Connection)`` of direct connections to other peers than
    the relay, ``"chat"(peer, text)``, ``"file"(Transferred)``.
    """

    def __init__(
        self, identity: PrivateKey, settings: PeerSettings | None = None, relay: Multiaddr | str | None = None
    ) -> None:
        """Prepare; ``relay`` ends in ``/p2p/<relay id>``, None stays reachable at its listeners only."""
        super().__init__()
        self.settings = settings or PeerSettings()
        self.relay = None if relay is None else Multiaddr(relay)
        self.host = Host(identity)
        webrtc = WebRtcConfig(peer=PeerConfig(ice=self.settings.ice))
        self.host.add_transport(WebRtcTransport(self.host, webrtc))
        self.store = FileStore(self.settings.files, self.settings.share)
        self.files = FileService(self.host, self.store, self._transferred)
        self.words = Words(self.store, self.files, selected_pair)
        self.chat = ChatService(self.host, self._respond, self.settings.chat)
        self.host.handle(echo.PROTOCOL, echo.serve_echo, allow_limited=True)
        self.host.on("connection", self._connected)
        self.host.on("disconnection", self._disconnected)
        self.host.on("identified", self._identified)
        self._presence: PresenceClient | None = None
        self._tasks = TaskSet()
        self._greeted: set[Connection] = set()
        """Connections whose peer was greeted; a peer tells about itself as often as it likes."""

    @property
    def peer_id(self) -> PeerId:
        """Who it is."""
        return self.host.peer_id

    async def start(self) -> None:
        """Listen, reserve at the relay, and go on its roster.

        Raises:
            SignallingError: the relay cannot be reached, or refuses.
            OSError: a listen address cannot be bound.
        """
        for address in self.settings.listen:
            await self.host.listen(address)
        if self.relay is None:
            return
        await self.host.listen(self.relay.encapsulate("/p2p-circuit/webrtc"))
        self._presence = PresenceClient(self.host, self.relay, name=self.settings.name, subscribe=False)
        self._presence.start()

    async def close(self) -> None:
        """Leave the roster, hang up, delete what was received. Harmless twice."""
        if self._presence is not None:
            await self._presence.close()
        await self._tasks.close()
        await self.files.close()
        await self.host.close()
        self.store.close()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _of_interest(self, connection: Connection) -> bool:
        is_relay = self.relay is not None and connection.remote_peer == self.relay.peer_id
        return connection.limit is None and not is_relay

    def _connected(self, connection: Connection) -> None:
        if self._of_interest(connection):
            self.emit("connection", connection)

    def _disconnected(self, connection: Connection) -> None:
        self._greeted.discard(connection)
        if self._of_interest(connection):
            self.emit("disconnection", connection)

    def _identified(self, connection: Connection) -> None:
        info = connection.peer_info
        if not self._of_interest(connection) or info is None or chat.PROTOCOL not in info.protocols:
            return
        if connection not in self._greeted and not connection.closed:
            self._greeted.add(connection)
            self._tasks.spawn(self._greet(connection.remote_peer), f"greet {connection.remote_peer}")

    async def _greet(self, peer: PeerId) -> None:
        try:
            await self.chat.say(peer, GREETING)
        except (SignallingError, OSError) as error:
            logger.debug("%s was not greeted: %s", peer, error)

    async def _respond(self, stream: Stream, text: str) -> str | None:
        self.emit("chat", stream.connection.remote_peer, text)
        return await self.words.respond(stream, text)

    def _transferred(self, transferred: Transferred) -> None:
        self.emit("file", transferred)
