from __future__ import annotations

import random

import pytest

from signalling.errors import DecodeError
from signalling.libp2p.config import NoiseConfig
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.noise import (
    MAX_MESSAGE,
    NoiseExtensions,
    NoiseFailed,
    NoiseHandshake,
    NoiseTransport,
    Secured,
    static_key_signature_input,
)
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.roles import Role
from tests.signalling.libp2p.vectors import KEY, PEER

OTHER = PrivateKey(bytes(range(32)))
OTHER_PEER = PeerId.from_public_key(OTHER.public_key)


def handshake(
    initiator: NoiseConfig | None = None,
    responder: NoiseConfig | None = None,
    expected: PeerId | None = None,
    expected_by_responder: PeerId | None = None,
) -> tuple[NoiseHandshake, NoiseHandshake]:
    return (
        NoiseHandshake(Role.INITIATOR, KEY, rng=random.Random(1), expected_peer=expected, config=initiator),
        NoiseHandshake(
            Role.RESPONDER, OTHER, rng=random.Random(2), expected_peer=expected_by_responder, config=responder
        ),
    )


def messages(machine: NoiseHandshake) -> list[bytes]:
    out = list(machine.effects)
    machine.effects.clear()
    return out


def run(a: NoiseHandshake, b: NoiseHandshake) -> list[int]:
    """Pass messages until nothing is left; return their sizes in order."""
    sizes = []
    for _ in range(3):
        for sender, receiver in ((a, b), (b, a)):
            for message in messages(sender):
                sizes.append(len(message))
                receiver.receive_data(message, 0.0)
    return sizes


def secured(machine: NoiseHandshake) -> Secured:
    event = machine.next_event()
    assert isinstance(event, Secured), event
    assert machine.next_event() is None
    return event


def test_the_signature_of_the_specification() -> None:
    assert KEY.sign(static_key_signature_input(bytes(range(32)))).hex() == (
        "6748f6f4c32e36aa2ef8df283a99a76275a9358b224844c53ced6ae4789262d0"
        "0a86a6fe47a578ae243faa2a3ed9f4fd22d1bc38527f4797548e568ca43f500c"
    )


def test_three_messages_secure_a_connection() -> None:
    a, b = handshake(expected=OTHER_PEER)
    sizes = run(a, b)
    payload = 2 + 36 + 2 + 64 + 2 + 2 + 12  # identity key, signature, and the extension with "/yamux/1.0.0"
    assert sizes == [2 + 32, 2 + 32 + 48 + payload + 16, 2 + 48 + payload + 16]
    ours, theirs = secured(a), secured(b)
    assert (ours.remote_peer, theirs.remote_peer) == (OTHER_PEER, PEER)
    assert ours.remote_key == OTHER.public_key
    assert ours.muxer == theirs.muxer == "/yamux/1.0.0"
    assert theirs.transport.decrypt(ours.transport.encrypt(b"ping")) == [b"ping"]
    assert ours.transport.decrypt(theirs.transport.encrypt(b"pong")) == [b"pong"]


def test_the_handshake_is_repeatable_from_its_seeds() -> None:
    first, second = handshake(), handshake()
    run(*first)
    run(*second)
    assert secured(first[0]).transport.encrypt(b"x") == secured(second[0]).transport.encrypt(b"x")


@pytest.mark.parametrize(
    ("initiator", "responder", "chosen"),
    [
        (("/a", "/b"), ("/b", "/a"), "/a"),
        (("/c", "/b"), ("/b", "/a"), "/b"),
        (("/a",), ("/b",), None),
        ((), ("/b",), None),
        (("/a",), (), None),
    ],
)
def test_the_initiator_s_first_muxer_that_both_have_is_chosen(
    initiator: tuple[str, ...], responder: tuple[str, ...], chosen: str | None
) -> None:
    a, b = handshake(NoiseConfig(stream_muxers=initiator), NoiseConfig(stream_muxers=responder))
    run(a, b)
    assert secured(a).muxer == secured(b).muxer == chosen


def test_another_peer_than_the_dialled_one_is_refused_before_anything_is_told_to_it() -> None:
    a, b = handshake(expected=PEER)
    run(a, b)
    event = a.next_event()
    assert isinstance(event, NoiseFailed)
    assert event.wrong_peer == OTHER_PEER
    assert messages(a) == []
    assert b.next_event() is None


def test_a_responder_may_expect_somebody_too() -> None:
    a, b = handshake(expected_by_responder=OTHER_PEER)
    run(a, b)
    event = b.next_event()
    assert isinstance(event, NoiseFailed)
    assert event.wrong_peer == PEER


def test_different_prologues_do_not_meet() -> None:
    a, b = handshake(NoiseConfig(prologue=b"libp2p-webrtc-noise:x"), NoiseConfig())
    run(a, b)
    assert isinstance(a.next_event(), NoiseFailed)


def test_a_signature_of_another_static_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = handshake()
    b._identity = _Signer(b._identity)  # type: ignore[assignment]
    run(a, b)
    assert a.next_event() == NoiseFailed("the identity's signature of the noise static key does not verify")


class _Signer:
    """An identity that signs something else than it is asked to."""

    def __init__(self, key: PrivateKey) -> None:
        self.public_key = key.public_key
        self._key = key

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(static_key_signature_input(bytes(32)))


def test_no_byte_of_the_handshake_can_change() -> None:
    for flight in range(3):
        index = 2
        while True:
            a, b = handshake()
            sides = [(a, b), (b, a), (a, b)]
            for sender, receiver in sides[:flight]:
                receiver.receive_data(messages(sender)[0], 0.0)
            sender, receiver = sides[flight]
            mutated = bytearray(messages(sender)[0])
            if index >= len(mutated):
                break
            mutated[index] ^= 0x80
            receiver.receive_data(bytes(mutated), 0.0)
            run(a, b)
            events = [a.next_event(), b.next_event()]
            assert any(isinstance(event, NoiseFailed) for event in events), (flight, index)
            index += 7


def test_a_point_of_small_order_is_refused() -> None:
    _, b = handshake()
    b.receive_data(b"\x00\x20" + bytes(32), 0.0)
    assert isinstance(b.next_event(), NoiseFailed)


@pytest.mark.parametrize("data", [b"", b"\x00\x00", b"\x00\x1f" + bytes(31), b"\xff\xff"])
def test_what_is_no_first_message_ends_it(data: bytes) -> None:
    _, b = handshake()
    b.receive_data(data, 0.0)
    assert isinstance(b.next_event(), NoiseFailed)
    b.receive_data(bytes(100), 0.0)
    assert b.next_event() is None


def test_data_right_behind_the_handshake_is_not_lost() -> None:
    a, b = handshake()
    b.receive_data(messages(a)[0], 0.0)
    a.receive_data(messages(b)[0], 0.0)
    ours = secured(a)
    early = ours.transport.encrypt(b"early")
    b.receive_data(messages(a)[0] + early[:5], 0.0)
    assert secured(b).transport.decrypt(early[5:]) == [b"early"]


def transports() -> tuple[NoiseTransport, NoiseTransport]:
    a, b = handshake()
    run(a, b)
    return secured(a).transport, secured(b).transport


@pytest.mark.parametrize(("size", "frames"), [(0, 1), (65519, 1), (65520, 2), (200_000, 4)])
def test_messages_are_cut_at_the_largest_frame(size: int, frames: int) -> None:
    ours, theirs = transports()
    data = random.Random(3).randbytes(size)
    sealed = ours.encrypt(data)
    assert len(sealed) == size + frames * (2 + 16)
    parts = theirs.decrypt(sealed)
    assert b"".join(parts) == data
    assert len(parts) == (frames if size else 0)


def test_a_whole_frame_is_needed_and_enough() -> None:
    ours, theirs = transports()
    sealed = ours.encrypt(b"one") + ours.encrypt(b"two")
    out = [part for byte in sealed for part in theirs.decrypt(bytes((byte,)))]
    assert out == [b"one", b"two"]


def test_a_changed_repeated_or_truncated_frame_does_not_decrypt() -> None:
    ours, theirs = transports()
    sealed = ours.encrypt(b"data")
    assert theirs.decrypt(sealed) == [b"data"]
    for bad in (sealed[:-1] + b"!", b"\x00\x10" + bytes(16), b"\x00\x03abc", b"\x00\x00"):
        with pytest.raises(DecodeError):
            transports()[1].decrypt(bad)
    with pytest.raises(DecodeError):
        theirs.decrypt(sealed)


def test_an_unfinished_frame_is_all_that_is_kept() -> None:
    _, theirs = transports()
    assert theirs.decrypt(b"\xff\xff" + bytes(MAX_MESSAGE - 1)) == []
    with pytest.raises(DecodeError):
        theirs.decrypt(b"\x00")


def test_extensions_survive_the_wire() -> None:
    extensions = NoiseExtensions(webtransport_certhashes=(b"hash",), stream_muxers=("/a", "/b"))
    assert NoiseExtensions.parse(extensions.serialize()) == extensions
    assert extensions.serialize().hex() == "0a0468617368" + "12022f61" + "12022f62"
