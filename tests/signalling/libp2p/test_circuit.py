"""The client's side of circuit relay v2: messages byte for byte, answers, and when a reservation is renewed."""

from __future__ import annotations

import random

import pytest

from signalling.errors import CircuitRefused, DecodeError, MultiaddrError
from signalling.libp2p.circuit import (
    Grant,
    ReservationState,
    ReservationTimer,
    accepted_limit,
    connect_request,
    is_relayed,
    read_grant,
    reserve_request,
    split_circuit,
    stop_source,
)
from signalling.libp2p.circuit_messages import (
    HopMessage,
    HopType,
    Limit,
    LimitMessage,
    PeerMessage,
    ReservationMessage,
    Status,
    StopMessage,
    StopType,
    readable_addresses,
)
from signalling.libp2p.host_config import CircuitConfig
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.peer_record import RelayVoucher, seal_voucher
from signalling.libp2p.wire import delimit

RNG = random.Random(11)
RELAY_KEY, CLIENT_KEY, OTHER_KEY = (PrivateKey.generate(RNG) for _ in range(3))
RELAY, CLIENT, OTHER = (PeerId.from_public_key(key.public_key) for key in (RELAY_KEY, CLIENT_KEY, OTHER_KEY))
RELAY_ADDRESS = Multiaddr(f"/ip4/192.0.2.1/tcp/4001/p2p/{RELAY}")
CONFIG = CircuitConfig()


def test_the_messages_are_those_of_the_specification() -> None:
    assert delimit(reserve_request()) == bytes.fromhex("020800")
    assert delimit(HopMessage(type=HopType.STATUS, status=Status.OK).serialize()) == bytes.fromhex("0408022864")
    refusal = HopMessage(type=HopType.STATUS, status=Status.NO_RESERVATION).serialize()
    assert delimit(refusal) == bytes.fromhex("05080228cc01")
    assert delimit(StopMessage(type=StopType.STATUS, status=Status.OK).serialize()) == bytes.fromhex("0408012064")
    assert LimitMessage(duration=120, data=1 << 17).serialize() == bytes.fromhex("087810808008")
    assert connect_request(OTHER) == b"\x08\x01\x12\x28\x0a\x26" + OTHER.to_bytes()
    offer = StopMessage(type=StopType.CONNECT, peer=PeerMessage(id=OTHER.to_bytes())).serialize()
    assert offer == b"\x08\x00\x12\x28\x0a\x26" + OTHER.to_bytes()


def test_a_circuit_address_is_taken_apart() -> None:
    circuit = split_circuit(RELAY_ADDRESS.encapsulate(f"/p2p-circuit/p2p/{OTHER}"))
    assert circuit == (RELAY_ADDRESS, RELAY, OTHER)
    assert split_circuit(RELAY_ADDRESS.encapsulate("/p2p-circuit")) == (RELAY_ADDRESS, RELAY, None)
    bare = Multiaddr(f"/p2p/{RELAY}/p2p-circuit/p2p/{OTHER}")
    assert split_circuit(bare) == (Multiaddr(f"/p2p/{RELAY}"), RELAY, OTHER)


@pytest.mark.parametrize(
    "tail",
    ["", f"/p2p-circuit/webrtc/p2p/{OTHER}", f"/p2p-circuit/p2p/{OTHER}/p2p-circuit/p2p/{CLIENT}", "/p2p-circuit/ws"],
)
def test_what_is_no_circuit_of_ours_is_left_to_other_transports(tail: str) -> None:
    assert split_circuit(RELAY_ADDRESS.encapsulate(tail)) is None


def test_a_circuit_address_names_its_relay() -> None:
    with pytest.raises(MultiaddrError):
        split_circuit(Multiaddr(f"/ip4/192.0.2.1/tcp/4001/p2p-circuit/p2p/{OTHER}"))


def test_a_connection_over_webrtc_behind_a_circuit_is_not_relayed() -> None:
    assert is_relayed(RELAY_ADDRESS.encapsulate(f"/p2p-circuit/p2p/{OTHER}"))
    assert not is_relayed(RELAY_ADDRESS.encapsulate(f"/p2p-circuit/webrtc/p2p/{OTHER}"))
    assert not is_relayed(RELAY_ADDRESS)


def voucher(key: PrivateKey = RELAY_KEY, relay: PeerId = RELAY, peer: PeerId = CLIENT) -> bytes:
    return seal_voucher(key, RelayVoucher(relay, peer, 1100))


def granted(*, expire: int | None = 1100, addresses: tuple[bytes, ...] = (), vouch: bytes | None = None) -> bytes:
    reservation = ReservationMessage(expire=expire, addresses=addresses, voucher=vouch)
    limit = LimitMessage(duration=120, data=1000)
    return HopMessage(type=HopType.STATUS, reservation=reservation, limit=limit, status=Status.OK).serialize()


def read(message: bytes, now: float = 1000.0) -> Grant:
    return read_grant(message, relay=RELAY, client=CLIENT, dialled=RELAY_ADDRESS, unix_now=now, config=CONFIG)


def test_a_grant_tells_how_long_where_and_with_which_limit() -> None:
    other = Multiaddr("/ip4/198.51.100.9/tcp/4001")
    told = (other.to_bytes(), b"\xff\xff", RELAY_ADDRESS.to_bytes(), other.encapsulate(f"/p2p/{OTHER}").to_bytes())
    grant = read(granted(addresses=told, vouch=voucher()))
    assert grant.expires_in == 100.0
    assert grant.voucher
    assert grant.limit == Limit(duration=120, data=1000)
    assert grant.addresses == (
        RELAY_ADDRESS.encapsulate("/p2p-circuit"),
        other.encapsulate(f"/p2p/{RELAY}/p2p-circuit"),
    )


def test_a_grant_without_a_voucher_will_do() -> None:
    assert not read(granted()).voucher


@pytest.mark.parametrize(
    "vouch",
    [
        b"no envelope",
        voucher(key=OTHER_KEY, relay=OTHER),
        voucher(peer=OTHER),
    ],
)
def test_a_wrong_voucher_spoils_the_grant(vouch: bytes) -> None:
    with pytest.raises(DecodeError):
        read(granted(vouch=vouch))


def test_a_grant_that_is_over_is_none() -> None:
    for expire in (1000, 0, None):
        with pytest.raises(CircuitRefused):
            read(granted(expire=expire))


def test_a_grant_without_its_reservation_is_malformed() -> None:
    with pytest.raises(DecodeError):
        read(HopMessage(type=HopType.STATUS, status=Status.OK).serialize())


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (HopMessage(type=HopType.STATUS, status=Status.RESERVATION_REFUSED), Status.RESERVATION_REFUSED),
        (HopMessage(type=HopType.STATUS, status=999), 999),
        (HopMessage(type=HopType.STATUS, status=0), 0),
        (HopMessage(type=HopType.STATUS), None),
        (HopMessage(type=HopType.CONNECT, status=100), Status.UNEXPECTED_MESSAGE),
        (HopMessage(type=77), Status.UNEXPECTED_MESSAGE),
        (HopMessage(), Status.UNEXPECTED_MESSAGE),
    ],
)
def test_a_refusal_keeps_its_code(message: HopMessage, status: int | None) -> None:
    for reading in (read, accepted_limit):
        with pytest.raises(CircuitRefused) as caught:
            reading(message.serialize())
        assert caught.value.status == status


@pytest.mark.parametrize(
    ("limit", "meaning"),
    [
        (None, None),
        (LimitMessage(), None),
        (LimitMessage(duration=0, data=0), None),
        (LimitMessage(duration=5), Limit(duration=5, data=0)),
        (LimitMessage(data=7), Limit(duration=0, data=7)),
    ],
)
def test_a_limit_of_zero_is_no_limit(limit: LimitMessage | None, meaning: Limit | None) -> None:
    accepted = HopMessage(type=HopType.STATUS, status=Status.OK, limit=limit).serialize()
    assert accepted_limit(accepted) == meaning
    offer = StopMessage(type=StopType.CONNECT, peer=PeerMessage(id=OTHER.to_bytes()), limit=limit).serialize()
    assert stop_source(offer) == (Status.OK, OTHER, meaning)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"\xff\xff", Status.MALFORMED_MESSAGE),
        (b"", Status.MALFORMED_MESSAGE),
        (StopMessage(type=StopType.STATUS, status=100).serialize(), Status.UNEXPECTED_MESSAGE),
        (StopMessage(type=9).serialize(), Status.UNEXPECTED_MESSAGE),
        (StopMessage(type=StopType.CONNECT).serialize(), Status.MALFORMED_MESSAGE),
        (StopMessage(type=StopType.CONNECT, peer=PeerMessage()).serialize(), Status.MALFORMED_MESSAGE),
        (StopMessage(type=StopType.CONNECT, peer=PeerMessage(id=b"x")).serialize(), Status.MALFORMED_MESSAGE),
    ],
)
def test_a_target_answers_nonsense_with_the_code_for_it(message: bytes, status: Status) -> None:
    assert stop_source(message) == (status, None, None)


def test_no_more_addresses_are_read_than_asked_for() -> None:
    encoded = [Multiaddr(f"/ip4/192.0.2.1/tcp/{port}").to_bytes() for port in range(1, 1000)]
    assert len(readable_addresses([b"\xff", *encoded, *encoded], 5)) == 5


def timer(**changes: float) -> ReservationTimer:
    return ReservationTimer(CircuitConfig(**changes), random.Random(3))  # type: ignore[arg-type]


def due(timer: ReservationTimer) -> float:
    deadline = timer.next_timeout()
    assert deadline is not None
    return deadline.at


def test_a_long_reservation_is_refreshed_a_margin_before_its_end_and_a_short_one_half_way() -> None:
    clock = timer(refresh_margin=300.0)
    assert clock.next_timeout() is None
    clock.granted(3600.0, 10.0)
    assert (clock.state, due(clock)) == (ReservationState.HELD, 3310.0)
    clock.granted(60.0, 10.0)
    assert due(clock) == 40.0


def test_a_relay_that_grants_moments_is_not_asked_all_the_time() -> None:
    clock = timer(min_refresh_interval=1.0)
    clock.granted(0.001, 10.0)
    assert due(clock) == 11.0


def test_a_failed_refresh_is_tried_again_with_growing_pauses_while_the_slot_is_held() -> None:
    clock = timer(refresh_margin=300.0, retry_min=1.0, retry_max=4.0)
    clock.granted(600.0, 0.0)
    now, pauses = due(clock), []
    for _ in range(5):
        clock.failed(now)
        pauses.append(due(clock) - now)
        now = due(clock)
    assert clock.state is ReservationState.HELD
    for pause, longest in zip(pauses, (1.0, 2.0, 4.0, 4.0, 4.0), strict=True):
        assert longest / 2 <= pause <= longest
    clock.failed(600.0)
    assert clock.state is ReservationState.WANTED


def test_a_lost_reservation_is_asked_for_at_once_and_then_in_growing_pauses() -> None:
    clock = timer(retry_min=1.0)
    clock.granted(3600.0, 0.0)
    clock.lost(5.0)
    assert (clock.state, due(clock)) == (ReservationState.WANTED, 5.0)
    clock.failed(5.0)
    first = due(clock) - 5.0
    clock.failed(6.0)
    assert 0.5 <= first <= 1.0
    assert 1.0 <= due(clock) - 6.0 <= 2.0
    clock.granted(3600.0, 9.0)
    clock.lost(10.0)
    clock.failed(10.0)
    assert due(clock) - 10.0 <= 1.0, "a success starts the pauses anew"
