"""Who begins an ICE restart, when an offer is told again, how many of the peer's are followed: without a clock."""

from __future__ import annotations

from collections import Counter

import pytest

from webrtc_bridge.config import RestartConfig
from webrtc_bridge.restarts import Due, Restarts

CONFIG = RestartConfig(patience=3.0, answer_timeout=5.0, tries=3, max_peer_restarts=2, peer_restart_interval=10.0)


def restarts(*, begins: bool) -> tuple[Restarts, Counter[str]]:
    counters: Counter[str] = Counter()
    return Restarts(CONFIG, counters, begins=begins, now=100.0), counters


def acts(room: Restarts, until: float, *, may_offer: bool = True) -> list[tuple[float, Due]]:
    """Run the timer and return what was due when."""
    found = []
    while (at := room.next_timeout()) is not None and at <= until:
        found.append((at, room.handle_timeout(at, may_offer=may_offer)))
    return found


def test_the_side_of_the_first_offer_begins_at_once() -> None:
    room, _ = restarts(begins=True)
    assert not room.is_wanted
    room.suggest(100.0)
    assert room.is_wanted
    assert acts(room, 104.0) == [(100.0, Due.OFFER)]


def test_the_other_side_begins_when_it_has_waited() -> None:
    room, _ = restarts(begins=False)
    room.suggest(100.0)
    room.suggest(102.0)  # does not make it longer
    assert not room.is_wanted
    assert room.handle_timeout(102.9, may_offer=True) is Due.NOTHING
    assert acts(room, 104.0) == [(103.0, Due.OFFER)]
    assert room.is_wanted


@pytest.mark.parametrize("what", ["healed", "done"])
def test_the_other_side_need_not_begin(what: str) -> None:
    room, _ = restarts(begins=False)
    room.suggest(100.0)
    getattr(room, what)()
    assert room.next_timeout() is None
    assert not room.is_wanted


def test_what_has_begun_is_not_stopped_by_a_path_that_heals() -> None:
    room, _ = restarts(begins=True)
    room.want(100.0)
    room.healed()
    assert acts(room, 100.0) == [(100.0, Due.OFFER)]


def test_an_offer_is_told_ever_later_again_and_then_given_up() -> None:
    room, counters = restarts(begins=True)
    room.want(100.0)
    assert acts(room, 1e9) == [
        (100.0, Due.OFFER),
        (105.0, Due.OFFER),
        (115.0, Due.OFFER),
        (135.0, Due.TAKE_BACK),
    ]
    assert counters == {"restart without an answer": 1}
    assert not room.is_wanted
    room.suggest(200.0)
    assert acts(room, 200.0) == [(200.0, Due.OFFER)]


def test_while_the_peers_offer_waits_for_our_answer_none_of_ours_is_due() -> None:
    room, _ = restarts(begins=True)
    room.want(100.0)
    assert acts(room, 114.0, may_offer=False) == [(100.0, Due.NOTHING), (105.0, Due.NOTHING), (110.0, Due.NOTHING)]
    assert acts(room, 115.0) == [(115.0, Due.OFFER)]


def test_an_offer_that_had_to_give_way_is_due_again() -> None:
    room, _ = restarts(begins=False)
    room.offer_again(100.0)
    assert room.next_timeout() is None
    room.want(100.0)
    assert acts(room, 100.0) == [(100.0, Due.OFFER)]
    room.offer_again(101.0)
    assert acts(room, 101.0) == [(101.0, Due.OFFER)]


def test_the_peer_may_restart_so_often() -> None:
    room, _ = restarts(begins=True)
    assert [room.admits(100.0) for _ in range(4)] == [True, True, False, False]
    assert [room.admits(110.0) for _ in range(2)] == [True, False]
