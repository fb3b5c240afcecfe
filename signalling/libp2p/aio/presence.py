"""Presence on asyncio: :class:`PresenceService` at the relay, :class:`PresenceClient` at a peer.

A peer::

    presence = PresenceClient(host, relay_address, name="ada", kind=PeerKind.NATIVE)
    presence.on("roster", lambda entries: ...)
    presence.start()
    ...
    await presence.close()
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import TYPE_CHECKING

from pyee.asyncio import AsyncIOEventEmitter

from signalling.errors import DecodeError, SignallingError
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.presence import (
    PROTOCOL,
    Announcement,
    Drop,
    Joined,
    Left,
    PeerKind,
    PresenceConfig,
    PresenceEntry,
    PresenceRegistry,
    Push,
    Request,
    clean_name,
    decode_roster,
    encode_request,
)

if TYPE_CHECKING:
    from signalling.libp2p.aio.host import Host
    from signalling.libp2p.aio.streams import Stream

__all__ = ["PresenceClient", "PresenceService"]

logger = logging.getLogger("signalling")


class PresenceService(AsyncIOEventEmitter):
    """Answers presence streams on ``host``: the relay's side.

    Events: ``"joined"(PresenceEntry)`` for a new or changed entry, ``"left"(PeerId)``.
    A slow subscriber costs one roster of memory: a roster that it has not taken yet is replaced by the next one.
    """

    def __init__(self, host: Host, config: PresenceConfig | None = None) -> None:
        super().__init__()
        self.config = config or PresenceConfig()
        self._registry = PresenceRegistry(self.config)
        self._members: dict[int, _Writer] = {}
        self._numbers = itertools.count(1)
        self._timer: asyncio.TimerHandle | None = None
        self._clock = asyncio.get_running_loop().time
        host.handle(PROTOCOL, self._serve)

    @property
    def roster(self) -> tuple[PresenceEntry, ...]:
        """Who is listed now."""
        return self._registry.roster()

    async def close(self) -> None:
        """End every presence stream."""
        if self._timer is not None:
            self._timer.cancel()
        for writer in list(self._members.values()):
            await writer.reset()

    async def _serve(self, stream: Stream) -> None:
        number = next(self._numbers)
        writer = _Writer(stream)
        self._members[number] = writer
        self._registry.attach(number, stream.connection.remote_peer, self._clock())
        self._pump()
        try:
            while (data := await stream.read_delimited(self.config.max_request_size)) is not None:
                self._registry.receive_message(number, data, self._clock())
                self._pump()
        except (SignallingError, ConnectionError) as error:
            logger.debug("presence stream of %s ended: %s", stream.connection.remote_peer, error)
        finally:
            del self._members[number]
            self._registry.detach(number, self._clock())
            self._pump()
            await writer.reset()

    def _pump(self) -> None:
        while (effect := self._registry.next_effect()) is not None:
            match effect:
                case Push(members, data):
                    for member in members:
                        if (writer := self._members.get(member)) is not None:
                            writer.offer(data)
                case Drop(member, reason):
                    logger.debug("presence stream %d dropped: %s", member, reason)
                    if (writer := self._members.get(member)) is not None:
                        writer.abort()
        while (event := self._registry.next_event()) is not None:
            match event:
                case Joined(entry):
                    self.emit("joined", entry)
                case Left(peer):
                    self.emit("left", peer)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._registry.next_timeout()
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline.at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._registry.handle_timeout(self._clock())
        self._pump()


class _Writer:
    """Writes the newest roster to one stream, as fast as the stream takes it."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._newest: bytes | None = None
        self._task: asyncio.Task[None] | None = None
        self._reset_task: asyncio.Task[None] | None = None

    def offer(self, data: bytes) -> None:
        self._newest = data
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._write())

    def abort(self) -> None:
        self._reset_task = asyncio.get_running_loop().create_task(self._stream.reset())

    async def reset(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._stream.reset()

    async def _write(self) -> None:
        try:
            while self._newest is not None:
                data, self._newest = self._newest, None
                await self._stream.write_delimited(data)
        except ConnectionError as error:
            logger.debug("roster not sent: %s", error)


class PresenceClient(AsyncIOEventEmitter):
    """Keeps one peer on a relay's roster, and tells who else is; joins again when the relay comes back.

    Events: ``"roster"(tuple[PresenceEntry, ...])`` after every push of the relay, ``"joined"()`` when a stream is up,
    ``"lost"(reason: str)`` when it ended.
    """

    def __init__(
        self,
        host: Host,
        relay: Multiaddr,
        *,
        name: str | None = None,
        kind: PeerKind = PeerKind.NATIVE,
        subscribe: bool = True,
        config: PresenceConfig | None = None,
    ) -> None:
        """Prepare; ``name`` None subscribes without being listed. ``relay`` ends in ``/p2p/<relay id>``."""
        super().__init__()
        self.config = config or PresenceConfig()
        self.roster: tuple[PresenceEntry, ...] = ()
        """The newest roster; empty before the first push and while the relay is away."""
        self._host = host
        self._relay = relay
        self._request = Request(self._announcement(name, kind), subscribe)
        self._task: asyncio.Task[None] | None = None
        self._joined = False

    def start(self) -> None:
        """Join, and go on joining until :meth:`close`."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        """Leave the roster. Harmless twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def _announcement(self, name: str | None, kind: PeerKind) -> Announcement | None:
        return None if name is None else Announcement(clean_name(name, self.config.max_name_length), kind)

    async def _keep(self) -> None:
        delay = self.config.first_retry
        while True:
            self._joined = False
            try:
                await self._stay()
                reason = "the relay ended the stream"
            except (SignallingError, OSError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
            had_roster, self.roster = bool(self.roster), ()
            if had_roster:
                self.emit("roster", ())
            if self._joined:
                delay = self.config.first_retry
                self.emit("lost", reason)
            await asyncio.sleep(delay)
            delay = min(self.config.last_retry, 2 * delay)

    async def _stay(self) -> None:
        connection = await self._host.connect(self._relay)
        stream = await self._host.new_stream(connection, [PROTOCOL])
        try:
            await stream.write_delimited(encode_request(self._request))
            self._joined = True
            self.emit("joined")
            while (data := await stream.read_delimited(self.config.max_roster_size)) is not None:
                try:
                    self.roster = decode_roster(data, self.config)
                except DecodeError as error:
                    logger.debug("roster ignored: %s", error)
                    continue
                self.emit("roster", self.roster)
        finally:
            await stream.reset()
