"""From a bare byte stream to a secured one with an agreed muxer, without I/O (libp2p connections specification).

multistream-select settles on Noise, Noise proves who is there, and the muxer comes out of the Noise handshake or, with
a peer that does not do that, out of a second multistream-select inside the secured stream.
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass

from signalling.errors import DecodeError
from signalling.libp2p import multistream
from signalling.libp2p.config import UpgradeConfig
from signalling.libp2p.keys import PrivateKey, PublicKey
from signalling.libp2p.noise import NOISE_PROTOCOL, NoiseFailed, NoiseHandshake, NoiseTransport, Secured
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.roles import Role
from signalling.libp2p.yamux import YAMUX_PROTOCOL
from stun.lazy_queue import LazyQueue
from stun.machine import Deadline, Outbox

__all__ = ["Upgrade", "UpgradeDone", "UpgradeFailed"]


@dataclass(frozen=True, slots=True)
class UpgradeDone:
    """Event: the connection is secured, and both sides speak yamux on it."""

    remote_key: PublicKey
    remote_peer: PeerId
    transport: NoiseTransport
    """What encrypts and decrypts from here on; undecrypted bytes that already arrived are in it."""
    received: bytes
    """Decrypted bytes that already belong to the muxer."""


@dataclass(frozen=True, slots=True)
class UpgradeFailed:
    """Event: close the connection."""

    reason: str
    wrong_peer: PeerId | None = None
    """Set when somebody else than the expected peer answered."""


class _Stage(enum.Enum):
    SECURITY = "negotiating security"
    NOISE = "noise handshake"
    MUXER = "negotiating the muxer"
    OVER = "over"


class Upgrade(Outbox[bytes, UpgradeDone | UpgradeFailed]):
    """One side of an upgrade: a byte-stream machine whose effects are bytes and whose one event ends it."""

    def __init__(
        self,
        role: Role,
        identity: PrivateKey,
        *,
        rng: random.Random,
        now: float,
        expected_peer: PeerId | None = None,
        config: UpgradeConfig | None = None,
    ) -> None:
        """Start at ``now``. ``expected_peer`` is who must answer; None accepts anyone.

        The initiator's first flight carries the negotiation and the first Noise message: as only one security protocol
        is offered, a peer that refuses it is of no use anyway.
        """
        super().__init__()
        self._config = config or UpgradeConfig()
        self._role = role
        self._stage = _Stage.SECURITY
        self._deadline = Deadline(now + self._config.timeout, "upgrade")
        self._negotiation = self._negotiate(NOISE_PROTOCOL, now)
        self._noise = NoiseHandshake(role, identity, rng=rng, expected_peer=expected_peer, config=self._config.noise)
        self._secured: Secured | None = None
        self._collect(self._negotiation.effects, None)
        self._collect(self._noise.effects, None)

    def receive_data(self, data: bytes, now: float) -> None:
        """Take what arrived; ``b""`` is the end of the byte stream. Ignored once the upgrade is over."""
        if self._stage is _Stage.OVER:
            return
        if not data:
            self._fail(f"the peer closed the connection while {self._stage.value}")
        elif self._stage is _Stage.SECURITY:
            self._negotiation.receive_data(data, now)
            self._after_security(now)
        elif self._stage is _Stage.NOISE:
            self._noise.receive_data(data, now)
            self._after_noise(now)
        else:
            self._receive_secured(data, now)

    def handle_timeout(self, now: float) -> None:
        """Fail when the upgrade has taken too long."""
        if self._stage is not _Stage.OVER and now >= self._deadline.at:
            self._fail(f"no connection within {self._config.timeout:g} s: {self._stage.value}")

    def next_timeout(self) -> Deadline | None:
        """When the upgrade fails by itself."""
        return None if self._stage is _Stage.OVER else self._deadline

    def _negotiate(self, protocol: str, now: float) -> multistream.Dialer | multistream.Listener:
        if self._role is Role.INITIATOR:
            return multistream.Dialer((protocol,), now, self._config.multistream)
        return multistream.Listener((protocol,), now, self._config.multistream)

    def _after_security(self, now: float) -> None:
        self._collect(self._negotiation.effects, None)
        match self._negotiation.next_event():
            case multistream.Failed(reason):
                self._fail(f"{_Stage.SECURITY.value}: {reason}")
            case multistream.Negotiated(_, received):
                self._stage = _Stage.NOISE
                if received:
                    self._noise.receive_data(received, now)
                    self._after_noise(now)

    def _after_noise(self, now: float) -> None:
        self._collect(self._noise.effects, None)
        match self._noise.next_event():
            case NoiseFailed(reason, wrong_peer):
                self._fail(reason, wrong_peer)
            case Secured(muxer=muxer) as secured:
                self._secured = secured
                if muxer == YAMUX_PROTOCOL:
                    self._receive_done(b"")
                    return
                self._stage = _Stage.MUXER
                self._negotiation = self._negotiate(YAMUX_PROTOCOL, now)
                self._collect(self._negotiation.effects, secured.transport)
                self._receive_secured(b"", now)

    def _receive_secured(self, data: bytes, now: float) -> None:
        """Go on with the muxer's negotiation inside the secured stream."""
        assert self._secured is not None
        plaintext = self._decrypt(data)
        if not plaintext:
            return
        self._negotiation.receive_data(plaintext, now)
        self._collect(self._negotiation.effects, self._secured.transport)
        match self._negotiation.next_event():
            case multistream.Failed(reason):
                self._fail(f"{_Stage.MUXER.value}: {reason}")
            case multistream.Negotiated(_, received):
                self._receive_done(received)

    def _receive_done(self, received: bytes) -> None:
        """Finish; frames that came right behind the handshake are decrypted, so that the muxer need not wait."""
        assert self._secured is not None
        received += self._decrypt(b"")
        if self._stage is _Stage.OVER:
            return
        self._stage = _Stage.OVER
        secured = self._secured
        self.events.append(UpgradeDone(secured.remote_key, secured.remote_peer, secured.transport, received))

    def _decrypt(self, data: bytes) -> bytes:
        assert self._secured is not None
        try:
            return b"".join(self._secured.transport.decrypt(data))
        except DecodeError as error:
            self._fail(str(error))
            return b""

    def _collect(self, effects: LazyQueue[bytes], transport: NoiseTransport | None) -> None:
        """Move a child's bytes to ours, through ``transport`` once the stream is secured."""
        if effects:
            data = b"".join(effects)
            effects.clear()
            self.effects.append(data if transport is None else transport.encrypt(data))

    def _fail(self, reason: str, wrong_peer: PeerId | None = None) -> None:
        self._stage = _Stage.OVER
        self.events.append(UpgradeFailed(reason, wrong_peer))
