"""One tab: its WebSocket, the guest host that stands for it on the relay, and its signalling sessions."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from aiohttp import WSCloseCode, WSMsgType, web

from signalling.errors import LimitExceeded, SignallingError
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.presence import PresenceClient
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.presence import PeerKind, PresenceEntry
from signalling.libp2p.webrtc_signalling import SIGNALLING_PROTOCOL, SignallingRole
from webrtc_bridge.ending import end_tasks
from webrtc_bridge.errors import BridgeError
from webrtc_bridge.gateway.call import Call
from webrtc_bridge.gateway.config import GatewayConfig
from webrtc_bridge.gateway.messages import Answer, Bye, CandidateMessage, Hello, MessageError, Offer, parse_message
from webrtc_bridge.rate import TokenBucket

__all__ = ["Presence", "PresenceFactory", "Tab"]

logger = logging.getLogger("webrtc_bridge")


class Presence(Protocol):
    """What a tab needs of a :class:`~signalling.libp2p.aio.presence.PresenceClient`."""

    def on(self, event: str, f: Callable[..., Any]) -> Any:
        """Call ``f`` with the roster at each ``"roster"``."""

    def start(self) -> None:
        """Join the roster."""

    async def close(self) -> None:
        """Leave it."""


PresenceFactory = Callable[[Host, Multiaddr, str], Presence]
"""Makes the presence of a guest host at a relay under a name."""


def browser_presence(host: Host, relay: Multiaddr, name: str) -> Presence:
    """Return the presence of a tab: listed as a browser, and told the roster."""
    return PresenceClient(host, relay, name=name, kind=PeerKind.BROWSER)


class _Leave(BridgeError):
    """End the tab with this close code and reason."""

    def __init__(self, code: WSCloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Tab:
    """Serves one WebSocket from its hello to its end, and leaves nothing behind."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        cut_off: Callable[[], None],
        relay: Multiaddr,
        config: GatewayConfig,
        presence: PresenceFactory,
    ) -> None:
        """Prepare; ``cut_off`` drops the connection below ``socket`` without a goodbye."""
        self._socket = socket
        self._cut_off = cut_off
        self._relay = relay
        self._config = config
        self._make_presence = presence
        self._loop = asyncio.get_running_loop()
        self._bucket = TokenBucket(config.rate, config.burst, self._loop.time())
        self._errors = 0
        self._calls: dict[str, Call] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._queue: deque[str] = deque()
        self._queued = asyncio.Event()
        self._taken = asyncio.Event()
        self._overrun = False
        self._roster: tuple[PresenceEntry, ...] | None = None
        self._host: Host | None = None

    @property
    def sessions(self) -> int:
        """How many signalling sessions are open."""
        return len(self._calls)

    async def run(self) -> None:
        """Serve the page until it leaves, breaks a limit, or the relay cannot be joined."""
        writer = asyncio.create_task(self._write(), name="gateway: writer")
        code, reason = WSCloseCode.OK, ""
        try:
            hello = await self._hello()
            await self._serve(hello.name)
        except _Leave as leave:
            code, reason = leave.code, str(leave)
            logger.debug("gateway: a tab is sent away: %s", reason)
        finally:
            await self._flush(writer)
            await self._close_socket(code, reason)

    # ---------------------------------------------------------------- the page

    async def _hello(self) -> Hello:
        try:
            async with asyncio.timeout(self._config.hello_timeout):
                while True:
                    message = await self._receive()
                    if isinstance(message, Hello):
                        return message
                    if message is not None:
                        self._refuse(MessageError("hello-first", "the first message has to be a hello"))
        except TimeoutError:
            raise _Leave(WSCloseCode.POLICY_VIOLATION, "no hello in time") from None

    async def _serve(self, name: str) -> None:
        host = Host(PrivateKey.generate(), self._config.host)
        self._host = host
        async with host:
            try:
                await self._join(host)
                presence = self._make_presence(host, self._relay, name)
                presence.on("roster", self._tell_roster)
                presence.start()
                try:
                    while True:
                        await self._step()
                finally:
                    await presence.close()
            finally:
                await self._end_calls()

    async def _join(self, host: Host) -> None:
        host.handle(SIGNALLING_PROTOCOL, self._called, allow_limited=True)
        try:
            async with asyncio.timeout(self._config.join_timeout):
                await host.reserve(self._relay)
        except (SignallingError, OSError, TimeoutError) as error:
            text = f"the relay cannot be joined: {error or 'no answer in time'}"
            self.tell(MessageError("relay-unreachable", text).to_json())
            raise _Leave(WSCloseCode.TRY_AGAIN_LATER, "the relay cannot be joined") from error
        servers = [{"urls": list(self._config.ice_servers)}] if self._config.ice_servers else []
        self.tell({"type": "welcome", "peer": str(host.peer_id), "relay": str(self._relay), "iceServers": servers})

    async def _step(self) -> None:
        """Take one message of the page."""
        message = await self._receive()
        try:
            match message:
                case Offer():
                    self._call(message)
                case Answer() | CandidateMessage() | Bye():
                    self._take(message)
                case Hello():
                    raise MessageError("bad-message", "a hello is the first message only")
        except MessageError as error:
            self._refuse(error)

    async def _receive(self) -> Hello | Offer | Answer | CandidateMessage | Bye | None:
        """Return the page's next message, or None for one that was refused."""
        received = await self._socket.receive()
        if received.type is WSMsgType.BINARY:
            raise _Leave(WSCloseCode.UNSUPPORTED_DATA, "messages are text")
        if received.type is not WSMsgType.TEXT:
            raise _Leave(WSCloseCode.OK, "the page has left")
        if not self._bucket.take(self._loop.time()):
            self.tell(MessageError("rate-limited", "too many messages").to_json())
            raise _Leave(WSCloseCode.POLICY_VIOLATION, "too many messages")
        try:
            return parse_message(received.data, self._config.max_sdp)
        except MessageError as error:
            self._refuse(error)
            return None

    def _refuse(self, error: MessageError) -> None:
        self.tell(error.to_json())
        self._errors += 1
        if self._errors > self._config.max_errors:
            raise _Leave(WSCloseCode.POLICY_VIOLATION, "too many messages that cannot be used")

    # ---------------------------------------------------------------- sessions

    def _call(self, offer: Offer) -> None:
        """Start to carry the page's offer to the peer."""
        if offer.session in self._calls:
            raise MessageError("session-exists", "there is a session of that name", offer.session)
        self._check_room(offer.session)
        call = Call(offer.session, offer.peer, SignallingRole.DIALLER, self, self._config)
        self._calls[offer.session] = call
        task = asyncio.create_task(self._dial(call, offer), name="gateway: call")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dial(self, call: Call, offer: Offer) -> None:
        assert self._host is not None
        circuit = self._relay.encapsulate(f"/p2p-circuit/p2p/{offer.peer}")
        try:
            async with asyncio.timeout(self._config.join_timeout):
                connection = await self._host.connect(circuit)
                stream = await self._host.new_stream(connection, [SIGNALLING_PROTOCOL], allow_limited=True)
            await call.run(stream, offer.sdp)
        except (SignallingError, OSError, TimeoutError) as error:
            text = f"the peer cannot be reached: {error or 'no answer in time'}"
            self.tell(MessageError("peer-unreachable", text, call.session).to_json())
        finally:
            self._calls.pop(call.session, None)

    async def _called(self, stream: Stream) -> None:
        """Carry a call from a peer to the page; the guest host resets the stream when this raises."""
        session = f"in-{secrets.token_urlsafe(12)}"
        peer = stream.connection.remote_peer
        of_peer = sum(call.peer == peer for call in self._calls.values())
        if len(self._calls) >= self._config.max_sessions or of_peer >= self._config.max_sessions_per_peer:
            raise LimitExceeded("the tab has too many sessions")
        call = Call(session, peer, SignallingRole.LISTENER, self, self._config)
        self._calls[session] = call
        try:
            await call.run(stream)
        finally:
            self._calls.pop(session, None)

    def _take(self, message: Answer | CandidateMessage | Bye) -> None:
        call = self._calls.get(message.session)
        if call is not None:
            call.take(message)
        elif isinstance(message, Answer):
            raise MessageError("unknown-session", "there is no session of that name", message.session)
        # A late candidate or goodbye of a session that has just ended is no mistake.

    def _check_room(self, session: str) -> None:
        if len(self._calls) >= self._config.max_sessions:
            raise MessageError("too-many-sessions", f"{len(self._calls)} sessions are open", session)

    async def _end_calls(self) -> None:
        for call in list(self._calls.values()):
            call.end("the page has left")
        await end_tasks(*self._tasks)

    # ---------------------------------------------------------------- to the page

    def tell(self, message: dict[str, Any]) -> None:
        """Queue a message for the page; one that does not read is cut off."""
        if len(self._queue) >= self._config.max_queued:
            self._overrun = True
        else:
            self._queue.append(json.dumps(message, separators=(",", ":")))
        self._queued.set()

    async def room(self) -> None:
        """Return when the page has taken at least half of what may wait for it."""
        while len(self._queue) >= self._config.max_queued // 2:
            self._taken.clear()
            await self._taken.wait()

    def _tell_roster(self, entries: tuple[PresenceEntry, ...]) -> None:
        """Remember the newest roster; one that the page has not got yet is replaced."""
        self._roster = entries
        self._queued.set()

    async def _write(self) -> None:
        """Send what is queued, until the socket closes or the page does not take it."""
        while not self._socket.closed:
            self._queued.clear()
            try:
                async with asyncio.timeout(self._config.send_timeout):
                    await self._send_queued()
            except (ConnectionError, TimeoutError):
                self._overrun = True
            if self._overrun:
                self._cut_off()  # half-open, or a page that stopped reading: nobody is there to say goodbye to
                return
            await self._queued.wait()

    async def _send_queued(self) -> None:
        while self._queue:
            text = self._queue.popleft()
            self._taken.set()
            await self._socket.send_str(text)
        if self._roster is not None:
            entries, self._roster = self._roster, None
            peers = [{"peer": str(entry.peer), "name": entry.name, "kind": entry.kind.label} for entry in entries]
            await self._socket.send_str(json.dumps({"type": "roster", "peers": peers}, separators=(",", ":")))

    async def _flush(self, writer: asyncio.Task[None]) -> None:
        await end_tasks(writer)
        if self._overrun or self._socket.closed:
            return
        try:
            async with asyncio.timeout(self._config.send_timeout):
                await self._send_queued()
        except (ConnectionError, TimeoutError) as error:
            logger.debug("gateway: last messages not sent: %s", error)

    async def _close_socket(self, code: WSCloseCode, reason: str) -> None:
        if not self._socket.closed:
            await self._socket.close(code=code, message=reason.encode()[:120])
