"""Fuzz targets of the libp2p base: each takes any bytes, and nothing may leave it but its own errors (caught here)."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

from signalling.errors import DecodeError, SignallingError
from signalling.libp2p.base import base58_decode, multibase_decode
from signalling.libp2p.config import UpgradeConfig, YamuxConfig
from signalling.libp2p.envelope import Envelope, EnvelopeUse
from signalling.libp2p.keys import PrivateKey, PublicKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.multistream import Dialer, Listener, encode_token
from signalling.libp2p.noise import NoiseExtensions, NoiseHandshake, Secured
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.peer_record import open_peer_record, open_voucher
from signalling.libp2p.roles import Role
from signalling.libp2p.upgrade import Upgrade
from signalling.libp2p.varint import decode_varint, encode_varint
from signalling.libp2p.wire import DelimitedReader
from signalling.libp2p.yamux import Yamux

Target = Callable[[bytes], None]

KEY = PrivateKey(bytes(32))
OTHER = PrivateKey(bytes(range(32)))
SMALL = YamuxConfig(max_streams=8, max_unaccepted=4, max_session_buffer=1 << 20, max_pending_answers=64)


def fuzz_libp2p_varint(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        decoded = decode_varint(data)
        if decoded is not None:
            assert encode_varint(decoded[0]) == data[: decoded[1]]


def fuzz_libp2p_delimited(data: bytes) -> None:
    reader = DelimitedReader(100)
    with contextlib.suppress(DecodeError):
        for start in range(0, len(data), 7):
            reader.feed(data[start : start + 7])
            while (message := reader.next_message()) is not None:
                assert len(message) <= 100


def fuzz_libp2p_key(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        key = PublicKey.parse(data)
        assert key.serialize() == data
        assert not key.verify(data, b"data")
    with contextlib.suppress(DecodeError):
        assert PrivateKey.parse(data).public_key


def fuzz_libp2p_peer_id(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        peer = PeerId.from_bytes(data)
        assert PeerId.parse(str(peer)) == peer
        peer.public_key()
    with contextlib.suppress(DecodeError):
        PeerId.parse(data.decode("latin-1"))


def fuzz_libp2p_base(data: bytes) -> None:
    text = data.decode("latin-1")
    for decode in (base58_decode, multibase_decode):
        with contextlib.suppress(DecodeError):
            decode(text)


def fuzz_libp2p_multiaddr(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        address = Multiaddr.from_bytes(data)
        assert Multiaddr(str(address)).components == address.components
        address.peer_id  # noqa: B018 - a property that parses
    with contextlib.suppress(DecodeError):
        address = Multiaddr(data.decode("utf-8", "replace"))
        assert Multiaddr.from_bytes(address.to_bytes()) == address


def fuzz_libp2p_envelope(data: bytes) -> None:
    for opener in (open_peer_record, open_voucher, lambda sealed: Envelope.open(sealed, EnvelopeUse("x", b"x"))):
        with contextlib.suppress(DecodeError):
            opener(data)


def fuzz_libp2p_noise_extensions(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        NoiseExtensions.parse(data)


def fuzz_libp2p_multistream(data: bytes) -> None:
    for machine in (Dialer(["/a", "/b"], 0.0), Listener({"/a"}, 0.0)):
        for prefix in (b"", encode_token("/multistream/1.0.0")):
            machine.receive_data(prefix + data, 0.0)
            assert len(machine.events) <= 1
            assert sum(map(len, machine.effects)) < 4096


def fuzz_libp2p_noise_handshake(data: bytes) -> None:
    for role in Role:
        machine = NoiseHandshake(role, KEY, rng=random.Random(1))
        machine.receive_data(data, 0.0)
        assert not any(isinstance(event, Secured) for event in machine.events)


def fuzz_libp2p_noise_transport(data: bytes) -> None:
    a = NoiseHandshake(Role.INITIATOR, KEY, rng=random.Random(1))
    b = NoiseHandshake(Role.RESPONDER, OTHER, rng=random.Random(2))
    for sender, receiver in ((a, b), (b, a), (a, b)):
        receiver.receive_data(sender.effects.popleft(), 0.0)
    event = b.next_event()
    assert isinstance(event, Secured)
    with contextlib.suppress(DecodeError):
        assert event.transport.decrypt(data) == []


def fuzz_libp2p_upgrade(data: bytes) -> None:
    for role in Role:
        machine = Upgrade(role, KEY, rng=random.Random(1), now=0.0, config=UpgradeConfig())
        for start in range(0, len(data), 50):
            machine.receive_data(data[start : start + 50], 0.0)
        machine.handle_timeout(100.0)
        assert len(machine.events) == 1


def fuzz_libp2p_yamux(data: bytes) -> None:
    """Frames from the bytes themselves: with the version, type and flags made likely ones."""
    for shaped in (data, _likely_frames(data)):
        machine = Yamux(Role.RESPONDER, 0.0, SMALL)
        for start in range(0, len(shaped), 29):
            machine.receive_data(shaped[start : start + 29], 0.0)
            while machine.next_event() is not None:
                pass
            if (stream := machine.accept(0.0)) is not None:
                with contextlib.suppress(SignallingError):
                    stream.send(b"answer")
                    stream.read(10)
            assert len(machine) <= SMALL.max_streams
            assert machine.buffered <= SMALL.max_session_buffer
        machine.handle_timeout(1000.0)
        machine.next_effect()


def _likely_frames(data: bytes) -> bytes:
    out = bytearray()
    for start in range(0, len(data) - 4, 4):
        kind, flags, stream, length = data[start : start + 4]
        out += bytes((0, kind % 5, 0, flags & 0x0F, 0, 0, 0, stream % 16, 0, 0, 0, length))
        if kind % 5 == 0:
            out += bytes(length)
    return bytes(out)
