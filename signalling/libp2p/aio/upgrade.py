"""The upgrade of a byte stream, TCP or any other, to a secured and multiplexed connection."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from signalling.errors import HandshakeError, PeerIdMismatch
from signalling.libp2p.aio.stream_transport import StreamTransport
from signalling.libp2p.aio.streams import RawStream
from signalling.libp2p.aio.yamux import YamuxMuxer
from signalling.libp2p.config import UpgradeConfig
from signalling.libp2p.keys import PrivateKey, PublicKey
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.roles import Role
from signalling.libp2p.upgrade import Upgrade, UpgradeDone, UpgradeFailed

__all__ = ["UpgradeProtocol", "Upgraded", "Upgrader"]


@dataclass(frozen=True, slots=True)
class Upgraded:
    """A secured, multiplexed connection."""

    muxer: YamuxMuxer
    remote_peer: PeerId
    remote_key: PublicKey
    transport: asyncio.Transport
    """For ``get_extra_info``; the muxer owns it."""


class UpgradeProtocol(asyncio.Protocol):
    """Runs one upgrade on a transport, and hands the transport to the muxer when it is done.

    Give it to ``loop.create_connection`` or, through a factory, to ``loop.create_server``, and await :meth:`wait`.
    """

    def __init__(self, upgrader: Upgrader, role: Role, expected_peer: PeerId | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._upgrader = upgrader
        self._role = role
        self._expected = expected_peer
        self._machine: Upgrade | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._result: asyncio.Future[Upgraded] = self._loop.create_future()
        self._result.add_done_callback(_retrieve)

    async def wait(self) -> Upgraded:
        """Return the upgraded connection; a cancelled call aborts the upgrade.

        Raises:
            PeerIdMismatch: somebody else than the expected peer answered.
            HandshakeError: the upgrade failed, or took too long, or the connection was lost meanwhile.
        """
        try:
            return await asyncio.shield(self._result)
        except asyncio.CancelledError:
            if self._result.done() and self._result.exception() is None:
                self._result.result().transport.abort()
            elif self._transport is not None:
                self._transport.abort()
            raise

    def add_done_callback(self, callback: Callable[[UpgradeProtocol], None]) -> None:
        """Call ``callback`` with this protocol once :meth:`wait` returns or raises at once."""
        self._result.add_done_callback(lambda _: callback(self))

    @property
    def transport(self) -> asyncio.Transport | None:
        """The transport below; None before the connection is made."""
        return self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the upgrade."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        now = self._loop.time()
        self._machine = Upgrade(
            self._role,
            self._upgrader.identity,
            rng=self._upgrader.rng,
            now=now,
            expected_peer=self._expected,
            config=self._upgrader.config,
        )
        deadline = self._machine.next_timeout()
        if deadline is not None:
            self._timer = self._loop.call_at(deadline.at, self._time_out)
        self._after_input()

    def data_received(self, data: bytes) -> None:
        """Feed the upgrade."""
        if self._machine is not None:
            self._machine.receive_data(data, self._loop.time())
            self._after_input()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail, unless the upgrade has already ended."""
        if self._machine is not None:
            self._machine.receive_data(b"", self._loop.time())
            self._after_input()
        if not self._result.done():
            self._result.set_exception(HandshakeError(f"the connection was lost: {exc}"))

    def _time_out(self) -> None:
        if self._machine is not None:
            self._machine.handle_timeout(self._loop.time() + 1e-6)
            self._after_input()

    def _after_input(self) -> None:
        machine, transport = self._machine, self._transport
        assert machine is not None
        assert transport is not None
        if machine.effects and not transport.is_closing():
            data = b"".join(machine.effects)
            machine.effects.clear()
            transport.write(data)
        match machine.next_event():
            case UpgradeDone() as done:
                self._finish(done, transport)
            case UpgradeFailed(reason, wrong_peer):
                self._stop_timer()
                transport.close()
                error = HandshakeError(reason) if wrong_peer is None else PeerIdMismatch(reason)
                if not self._result.done():
                    self._result.set_exception(error)

    def _finish(self, done: UpgradeDone, transport: asyncio.Transport) -> None:
        self._stop_timer()
        muxer = YamuxMuxer(transport, done.transport, self._role, done.received, self._upgrader.config.yamux)
        if self._result.done():
            transport.abort()
        else:
            self._result.set_result(Upgraded(muxer, done.remote_peer, done.remote_key, transport))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Upgrader:
    """Upgrades connections with one identity and one configuration."""

    def __init__(
        self, identity: PrivateKey, config: UpgradeConfig | None = None, rng: random.Random | None = None
    ) -> None:
        """Use ``rng`` for the handshakes' secrets: the system's, unless a test gives another one."""
        self.identity = identity
        self.config = config or UpgradeConfig()
        self.rng = rng or random.SystemRandom()

    def protocol(self, role: Role, expected_peer: PeerId | None = None) -> UpgradeProtocol:
        """Return a protocol for one connection; ``expected_peer`` is who must answer, None for anyone."""
        return UpgradeProtocol(self, role, expected_peer)

    async def upgrade_stream(self, stream: RawStream, role: Role, expected_peer: PeerId | None = None) -> Upgraded:
        """Upgrade a raw stream: a relayed pipe, a WebSocket.

        Raises:
            PeerIdMismatch: somebody else than the expected peer answered.
            HandshakeError: the upgrade failed or took too long.
        """
        protocol = self.protocol(role, expected_peer)
        StreamTransport(stream, protocol)
        return await protocol.wait()


def _retrieve(future: asyncio.Future[Upgraded]) -> None:
    """Mark a failure as seen: whoever awaits ``wait`` gets it, and nobody has to."""
    if not future.cancelled():
        future.exception()
