from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalling.errors import DecodeError
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.presence import (
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
    decode_request,
    decode_roster,
    encode_request,
    encode_roster,
)

CONFIG = PresenceConfig()


def peer(number: int) -> PeerId:
    return PeerId.from_public_key(PrivateKey.generate(random.Random(number)).public_key)


ADA, BOB = peer(1), peer(2)


def announce(name: str, kind: PeerKind = PeerKind.NATIVE, *, subscribe: bool = False) -> bytes:
    return encode_request(Request(Announcement(name, kind), subscribe))


SUBSCRIBE = encode_request(Request(subscribe=True))


def effects(registry: PresenceRegistry) -> list[Push | Drop]:
    return list(iter(registry.next_effect, None))


def events(registry: PresenceRegistry) -> list[Joined | Left]:
    return list(iter(registry.next_event, None))


def pushed(registry: PresenceRegistry, now: float) -> dict[int, list[str]]:
    """Fire the timer and return the names that each member is sent."""
    registry.handle_timeout(now)
    sent: dict[int, list[str]] = {}
    for effect in effects(registry):
        assert isinstance(effect, Push)
        for member in effect.members:
            sent[member] = [entry.name for entry in decode_roster(effect.data, CONFIG)]
    return sent


def test_subscriber_is_pushed_the_roster_after_a_change() -> None:
    registry = PresenceRegistry()
    registry.attach(1, ADA, 0.0)
    registry.receive_message(1, SUBSCRIBE, 0.0)
    assert registry.next_timeout() is not None
    assert pushed(registry, 0.0) == {1: []}

    registry.attach(2, BOB, 5.0)
    registry.receive_message(2, announce("bob", PeerKind.BROWSER), 5.0)

    assert pushed(registry, 5.0) == {1: ["bob"]}
    assert events(registry) == [Joined(PresenceEntry(BOB, "bob", PeerKind.BROWSER))]


def test_nobody_is_listed_who_did_not_announce() -> None:
    registry = PresenceRegistry()
    registry.attach(1, ADA, 0.0)
    registry.receive_message(1, SUBSCRIBE, 0.0)

    assert registry.roster() == ()


def test_entry_leaves_with_its_stream() -> None:
    registry = PresenceRegistry()
    registry.attach(1, ADA, 0.0)
    registry.attach(2, BOB, 0.0)
    registry.receive_message(1, SUBSCRIBE, 0.0)
    registry.receive_message(2, announce("bob"), 0.0)
    pushed(registry, 0.0)
    events(registry)

    registry.detach(2, 1.0)

    assert events(registry) == [Left(BOB)]
    assert pushed(registry, 1.0) == {1: []}


def test_changes_within_the_interval_are_pushed_together() -> None:
    registry = PresenceRegistry()
    registry.attach(1, ADA, 0.0)
    registry.receive_message(1, SUBSCRIBE, 0.0)
    assert pushed(registry, 0.0) == {1: []}

    for number in range(2, 12):
        registry.attach(number, peer(number), 0.01)
        registry.receive_message(number, announce(f"peer {number}"), 0.01)

    deadline = registry.next_timeout()
    assert deadline is not None
    assert deadline.at == pytest.approx(CONFIG.push_interval)
    assert pushed(registry, 0.1) == {}
    assert len(pushed(registry, deadline.at)[1]) == 10
    assert registry.next_timeout() is None


def test_same_announcement_again_changes_nothing() -> None:
    registry = PresenceRegistry()
    registry.attach(1, ADA, 0.0)
    registry.receive_message(1, announce("ada"), 0.0)
    pushed(registry, 0.0)
    events(registry)

    registry.receive_message(1, announce("ada"), 1.0)

    assert registry.next_timeout() is None
    assert events(registry) == []


def test_peer_is_listed_once_with_its_latest_name_until_its_last_stream_ends() -> None:
    registry = PresenceRegistry()
    for number, name in ((1, "old"), (2, "new")):
        registry.attach(number, ADA, 0.0)
        registry.receive_message(number, announce(name), 0.0)
    assert [entry.name for entry in registry.roster()] == ["new"]
    events(registry)

    registry.detach(2, 1.0)
    assert [entry.name for entry in registry.roster()] == ["old"]
    assert events(registry) == []

    registry.detach(1, 2.0)
    assert registry.roster() == ()
    assert events(registry) == [Left(ADA)]


def test_withdraw_takes_the_entry_off_and_keeps_the_subscription() -> None:
    registry = PresenceRegistry()
    registry.attach(1, ADA, 0.0)
    registry.receive_message(1, announce("ada", subscribe=True), 0.0)
    assert pushed(registry, 0.0) == {1: ["ada"]}

    registry.receive_message(1, encode_request(Request(withdraw=True)), 1.0)

    assert pushed(registry, 1.0) == {1: []}


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05abc", b"\x00" * 2000])
def test_malformed_or_oversize_request_drops_the_member(data: bytes) -> None:
    registry = PresenceRegistry()
    registry.attach(1, ADA, 0.0)
    registry.receive_message(1, announce("ada"), 0.0)

    registry.receive_message(1, data, 1.0)

    assert [effect.member for effect in effects(registry) if isinstance(effect, Drop)] == [1]
    assert registry.roster() == ()
    assert registry.refused == 1
    registry.receive_message(1, announce("ada"), 2.0)
    assert registry.roster() == ()


def test_flood_of_requests_drops_the_member_after_its_burst() -> None:
    registry = PresenceRegistry()
    registry.attach(1, ADA, 0.0)
    for count in range(CONFIG.request_burst):
        registry.receive_message(1, announce(f"name {count}"), 0.0)
    assert effects(registry) == []

    registry.receive_message(1, announce("one more"), 0.0)

    assert isinstance(effects(registry)[0], Drop)


def test_patient_peer_may_go_on_for_ever() -> None:
    registry = PresenceRegistry()
    registry.attach(1, ADA, 0.0)

    for second in range(100):
        registry.receive_message(1, announce(f"name {second}"), float(second))

    assert registry.refused == 0


def test_limits_of_streams_and_entries() -> None:
    registry = PresenceRegistry(PresenceConfig(max_members=5, max_streams_per_peer=2, max_entries=1))
    for number in range(3):
        registry.attach(number, ADA, 0.0)
    assert [effect.member for effect in effects(registry) if isinstance(effect, Drop)] == [2]

    registry.attach(10, BOB, 0.0)
    registry.receive_message(0, announce("ada"), 0.0)
    registry.receive_message(10, announce("bob"), 0.0)
    assert [effect.member for effect in effects(registry) if isinstance(effect, Drop)] == [10]
    assert [entry.name for entry in registry.roster()] == ["ada"]


def test_attaching_a_member_twice_is_a_mistake_of_the_caller() -> None:
    registry = PresenceRegistry()
    registry.attach(1, ADA, 0.0)

    with pytest.raises(ValueError, match="attached"):
        registry.attach(1, BOB, 0.0)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("  Ada   Lovelace ", "Ada Lovelace"),
        ("line\nbreak\x00\x1b[31m", "line break [31m"),
        ("right\u202eleft", "right left"),
        ("x" * 500, "x" * 48),
        ("\x00\x01", ""),
    ],
)
def test_names_are_one_clean_line(text: str, clean: str) -> None:
    assert clean_name(text, 48) == clean


def test_unknown_kind_counts_as_native_and_bad_peer_ids_are_left_out() -> None:
    request = decode_request(bytes.fromhex("0a070a03626f621063"), CONFIG)
    assert request.announce == Announcement("bob", PeerKind.NATIVE)

    good = encode_roster([PresenceEntry(ADA, "ada", PeerKind.NATIVE)])
    bad = bytes.fromhex("0a080a02ffff12026869")
    assert [entry.name for entry in decode_roster(bad + good, CONFIG)] == ["ada"]


def test_a_roster_from_a_relay_is_cut_to_our_limit() -> None:
    data = encode_roster(PresenceEntry(peer(number), str(number), PeerKind.NATIVE) for number in range(5))

    assert len(decode_roster(data, PresenceConfig(max_entries=3))) == 3


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_decode_error(data: bytes) -> None:
    for decode in (decode_request, decode_roster):
        try:
            decode(data, CONFIG)
        except DecodeError:
            continue


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(["attach", "detach", "announce", "subscribe", "junk", "wait"])),
        max_size=60,
    )
)
def test_the_roster_is_who_announced_and_has_not_left(steps: list[tuple[int, str]]) -> None:
    registry = PresenceRegistry(PresenceConfig(max_members=4, max_entries=2, request_burst=3))
    attached: set[int] = set()
    listed: set[int] = set()
    now = 0.0
    for number, step in steps:
        now += 0.1
        if step == "attach" and number not in attached:
            registry.attach(number, peer(number), now)
            attached.add(number)
        elif step == "detach":
            registry.detach(number, now)
            attached.discard(number)
            listed.discard(number)
        elif step == "wait":
            registry.handle_timeout(now)
        elif step in ("announce", "subscribe", "junk"):
            data = {"announce": announce(str(number)), "subscribe": SUBSCRIBE, "junk": b"\xff"}[step]
            registry.receive_message(number, data, now)
            if step == "announce" and number in attached:
                listed.add(number)
        for effect in effects(registry):
            if isinstance(effect, Drop):
                registry.detach(effect.member, now)
                attached.discard(effect.member)
                listed.discard(effect.member)
        assert {entry.peer for entry in registry.roster()} == {peer(each) for each in listed}
        assert len(registry.roster()) <= 2
