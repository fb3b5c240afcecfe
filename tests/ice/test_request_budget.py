"""The budget of requests that the life of sessions is held to: what it allows, by the settings."""

from __future__ import annotations

from ice.config import IceConfig
from ice.life_config import UpgradeConfig
from tests.ice.request_budget import RequestBudget


def test_a_check_is_sent_at_0_1_3_7_initial_timeouts() -> None:
    budget = RequestBudget(IceConfig())
    assert [budget.sends_within(seconds) for seconds in (0.5, 0.51, 1.5, 1.6, 60.0)] == [1, 2, 2, 3, 7]
    assert RequestBudget(IceConfig(rto=2.0)).sends_within(2.0) == 1


def test_a_stranger_gets_one_check_and_the_rechecks_of_a_spare_for_each_pair() -> None:
    config = IceConfig(max_sends=3, upgrade=UpgradeConfig(rechecks=2, check_sends=1))
    assert RequestBudget(config).to_a_stranger(4) == 4 * (3 + 2 * 1)


def test_who_says_more_is_asked_more_but_not_sooner_than_ta() -> None:
    def within(seconds: float, heard: int, pairs: int = 1) -> int:
        return RequestBudget(IceConfig()).within(seconds, pairs=pairs, heard=heard, selections=0, restarts=0)

    quiet = within(1.0, 0)
    assert within(1.0, 5) - quiet == 5, "a check each, and no more resends: a pair has one check at a time"
    assert within(1.0, 1000) == within(1.0, 100), "no pair is checked sooner than Ta"
    assert within(1.0, 1000) - quiet < 25
    assert within(1.0, 0, pairs=4) > quiet


def test_the_pace_and_the_timeouts_are_the_configured_ones() -> None:
    calm, busy = RequestBudget(IceConfig(ta=0.5)), RequestBudget(IceConfig())
    arguments = {"pairs": 1, "heard": 1000, "selections": 0, "restarts": 0}
    assert busy.within(1.0, **arguments) - calm.within(1.0, **arguments) == 20 - 2
    assert busy.to_a_server(1.0, bases=2, gatherings=1) == 2 * 2 + 2 * 2
