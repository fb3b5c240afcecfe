"""The libp2p Noise handshake without I/O (libp2p noise specification): XX, and a proof of the libp2p identity.

    initiator                         responder
        | -- e -------------------------> |
        | <- e, ee, s, es, [payload] ---- |
        | -- s, se, [payload] ----------> |

Each payload signs the sender's static key with its identity key, and may list stream muxers, which saves a round trip.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from signalling.errors import DecodeError
from signalling.libp2p.config import NoiseConfig
from signalling.libp2p.keys import PrivateKey, PublicKey
from signalling.libp2p.noise_cipher import TAG, CipherState, SymmetricState
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.roles import Role
from signalling.libp2p.wire import Kind, Message, optional, repeated, required
from stun.machine import Outbox

__all__ = [
    "MAX_MESSAGE",
    "NOISE_PROTOCOL",
    "NoiseExtensions",
    "NoiseFailed",
    "NoiseHandshake",
    "NoiseTransport",
    "Secured",
    "static_key_signature_input",
]

NOISE_PROTOCOL = "/noise"
"""What multistream-select calls it."""

MAX_MESSAGE = 65535
"""Bytes of a noise message, tag included."""

_MAX_PLAINTEXT = MAX_MESSAGE - TAG
_KEY = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseExtensions(Message):
    """``NoiseExtensions`` of the handshake payload."""

    webtransport_certhashes: tuple[bytes, ...] = repeated(1, Kind.BYTES)
    stream_muxers: tuple[str, ...] = repeated(2, Kind.STRING)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Payload(Message):
    """``NoiseHandshakePayload``; field 3 is burnt."""

    identity_key: bytes = required(1, Kind.BYTES)
    identity_sig: bytes = required(2, Kind.BYTES)
    extensions: NoiseExtensions | None = optional(4, NoiseExtensions)


@dataclass(frozen=True, slots=True)
class Secured:
    """Event: the handshake is complete and the peer is who it says."""

    remote_key: PublicKey
    remote_peer: PeerId
    muxer: str | None
    """The muxer agreed on in the handshake, or None when multistream-select has to settle it."""
    transport: NoiseTransport
    """Encrypts and decrypts what follows; what arrived behind the handshake is already in it."""


@dataclass(frozen=True, slots=True)
class NoiseFailed:
    """Event: the handshake failed; close the connection."""

    reason: str
    wrong_peer: PeerId | None = None
    """Set when the peer proved an identity, but not the expected one."""


def static_key_signature_input(static_public: bytes) -> bytes:
    """Return what the identity key signs about an X25519 static key."""
    return b"noise-libp2p-static-key:" + static_public


class NoiseTransport:
    """The secured byte stream after the handshake: frames of a 2-byte length and a noise message each."""

    __slots__ = ("_buffer", "_receive", "_send")

    def __init__(self, send: CipherState, receive: CipherState, received: bytes = b"") -> None:
        self._send = send
        self._receive = receive
        self._buffer = bytearray(received)

    def encrypt(self, data: bytes) -> bytes:
        """Return the frames that carry ``data``."""
        encrypt = self._send.encrypt
        if len(data) <= _MAX_PLAINTEXT:
            sealed = encrypt(data)
            return len(sealed).to_bytes(2) + sealed
        view = memoryview(data)
        out: list[bytes] = []
        for start in range(0, len(data), _MAX_PLAINTEXT):
            sealed = encrypt(view[start : start + _MAX_PLAINTEXT])
            out += (len(sealed).to_bytes(2), sealed)
        return b"".join(out)

    def decrypt(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """Take what arrived; return the plaintext of every frame that is now whole, empty ones left out.

        Raises:
            DecodeError: a frame does not verify; the stream is out of step for good.
        """
        buffer = self._buffer
        buffer += data
        total, offset = len(buffer), 0
        out: list[bytes] = []
        with memoryview(buffer) as view:
            while total - offset >= 2:
                end = offset + 2 + (buffer[offset] << 8 | buffer[offset + 1])
                if end > total:
                    break
                plaintext = self._receive.decrypt(view[offset + 2 : end])
                if plaintext:
                    out.append(plaintext)
                offset = end
        if offset:
            del buffer[:offset]
        return out


class NoiseHandshake(Outbox[bytes, "Secured | NoiseFailed"]):
    """One side of the handshake: a byte-stream machine whose effects are bytes and whose one event ends it."""

    __slots__ = (
        "_buffer",
        "_config",
        "_done",
        "_ephemeral",
        "_expected",
        "_identity",
        "_muxer",
        "_remote_ephemeral",
        "_role",
        "_static",
        "_step",
        "_symmetric",
    )

    def __init__(
        self,
        role: Role,
        identity: PrivateKey,
        *,
        rng: random.Random,
        expected_peer: PeerId | None = None,
        config: NoiseConfig | None = None,
    ) -> None:
        """Start; the initiator's first message is ready at once.

        ``expected_peer`` is who must answer; None accepts anyone, and the event says who it is. ``rng`` makes the
        static and the ephemeral key of this session, so outside of tests it must be the system's.
        """
        super().__init__()
        self._config = config or NoiseConfig()
        self._role = role
        self._identity = identity
        self._expected = expected_peer
        self._static = X25519PrivateKey.from_private_bytes(rng.randbytes(_KEY))
        self._ephemeral = X25519PrivateKey.from_private_bytes(rng.randbytes(_KEY))
        self._symmetric = SymmetricState(self._config.prologue)
        self._buffer = bytearray()
        self._remote_ephemeral = b""
        self._muxer: str | None = None
        self._done = False
        self._step = self._receive_first if role is Role.RESPONDER else self._receive_second
        if role is Role.INITIATOR:
            self._send(self._ephemeral_token() + self._symmetric.encrypt_and_hash(b""))

    @property
    def done(self) -> bool:
        """Whether the handshake ended, one way or the other."""
        return self._done

    def receive_data(self, data: bytes, now: float) -> None:
        """Take what arrived; ``b""`` is the end of the stream. Ignored once the handshake ended."""
        if self._done:
            return
        if not data:
            self._fail("the peer closed the connection during the noise handshake")
            return
        self._buffer += data
        while not self._done and len(self._buffer) >= 2:
            length = int.from_bytes(self._buffer[:2])
            if length > self._config.max_handshake_payload:
                self._fail(f"a noise handshake message of {length} bytes exceeds the limit")
                return
            if len(self._buffer) < 2 + length:
                return
            message = bytes(self._buffer[2 : 2 + length])
            del self._buffer[: 2 + length]
            try:
                self._step(message)
            except DecodeError as error:
                self._fail(f"noise handshake: {error}")

    def _receive_first(self, message: bytes) -> None:
        """Responder: take ``e``; answer ``e, ee, s, es`` with the payload."""
        self._take_ephemeral(message)
        self._symmetric.decrypt_and_hash(message[_KEY:])
        answer = self._ephemeral_token()
        self._symmetric.mix_key(self._exchange(self._ephemeral, self._remote_ephemeral))
        answer += self._static_token()
        self._symmetric.mix_key(self._exchange(self._static, self._remote_ephemeral))
        self._send(answer + self._symmetric.encrypt_and_hash(self._payload()))
        self._step = self._receive_third

    def _receive_second(self, message: bytes) -> None:
        """Initiator: take ``e, ee, s, es`` and the payload; answer ``s, se`` with ours."""
        self._take_ephemeral(message)
        self._symmetric.mix_key(self._exchange(self._ephemeral, self._remote_ephemeral))
        static = self._take_static(message[_KEY : 2 * _KEY + TAG])
        self._symmetric.mix_key(self._exchange(self._ephemeral, static))
        payload = self._symmetric.decrypt_and_hash(message[2 * _KEY + TAG :])
        remote = self._verify(payload, static)
        if remote is None:
            return
        answer = self._static_token()
        self._symmetric.mix_key(self._exchange(self._static, self._remote_ephemeral))
        self._send(answer + self._symmetric.encrypt_and_hash(self._payload()))
        self._complete(remote)

    def _receive_third(self, message: bytes) -> None:
        """Responder: take ``s, se`` and the payload."""
        static = self._take_static(message[: _KEY + TAG])
        self._symmetric.mix_key(self._exchange(self._ephemeral, static))
        payload = self._symmetric.decrypt_and_hash(message[_KEY + TAG :])
        remote = self._verify(payload, static)
        if remote is not None:
            self._complete(remote)

    def _verify(self, data: bytes, static: bytes) -> PublicKey | None:
        """Return the peer's identity key, or None after failing; learn its muxers."""
        payload = _Payload.parse(data)
        key = PublicKey.parse(payload.identity_key)
        if not key.verify(payload.identity_sig, static_key_signature_input(static)):
            self._fail("the identity's signature of the noise static key does not verify")
            return None
        peer = PeerId.from_public_key(key)
        if self._expected is not None and peer != self._expected:
            self._fail(f"the peer is {peer}, not {self._expected}", peer)
            return None
        if payload.extensions is not None:
            self._muxer = self._choose_muxer(payload.extensions.stream_muxers)
        return key

    def _choose_muxer(self, theirs: tuple[str, ...]) -> str | None:
        """Return the first of the initiator's list that the responder has too."""
        ours = self._config.stream_muxers
        first, second = (ours, theirs) if self._role is Role.INITIATOR else (theirs, ours)
        return next((muxer for muxer in first if muxer in second), None)

    def _payload(self) -> bytes:
        static = self._static.public_key().public_bytes_raw()
        muxers = self._config.stream_muxers
        return _Payload(
            identity_key=self._identity.public_key.serialize(),
            identity_sig=self._identity.sign(static_key_signature_input(static)),
            extensions=NoiseExtensions(stream_muxers=muxers) if muxers else None,
        ).serialize()

    def _ephemeral_token(self) -> bytes:
        public = self._ephemeral.public_key().public_bytes_raw()
        self._symmetric.mix_hash(public)
        return public

    def _static_token(self) -> bytes:
        return self._symmetric.encrypt_and_hash(self._static.public_key().public_bytes_raw())

    def _take_ephemeral(self, message: bytes) -> None:
        if len(message) < _KEY:
            raise DecodeError("the message is too short for a key")
        self._remote_ephemeral = message[:_KEY]
        self._symmetric.mix_hash(self._remote_ephemeral)

    def _take_static(self, sealed: bytes) -> bytes:
        if len(sealed) < _KEY + TAG:
            raise DecodeError("the message is too short for a key")
        return self._symmetric.decrypt_and_hash(sealed)

    def _exchange(self, private: X25519PrivateKey, public: bytes) -> bytes:
        try:
            return private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError as error:  # a point of small order gives an all-zero secret
            raise DecodeError(f"a bad X25519 key: {error}") from None

    def _send(self, message: bytes) -> None:
        self.effects.append(len(message).to_bytes(2) + message)

    def _complete(self, remote: PublicKey) -> None:
        self._done = True
        first, second = self._symmetric.split()
        send, receive = (first, second) if self._role is Role.INITIATOR else (second, first)
        transport = NoiseTransport(send, receive, bytes(self._buffer))
        self._buffer.clear()
        self.events.append(Secured(remote, PeerId.from_public_key(remote), self._muxer, transport))

    def _fail(self, reason: str, wrong_peer: PeerId | None = None) -> None:
        self._done = True
        self._buffer.clear()
        self.events.append(NoiseFailed(reason, wrong_peer))
