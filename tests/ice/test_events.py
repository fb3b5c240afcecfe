"""Events: those that each session has are plain classes, and values all the same."""

from __future__ import annotations

import pytest

from ice.errors import FailureReason
from ice.events import PairSelected, StateChanged
from ice.pair import CandidatePair
from ice.roles import Role
from ice.state import State
from tests.ice.builders import local, remote

CHECKING = StateChanged(State.NEW, State.CHECKING)


def test_a_change_of_state_says_from_where_to_where_and_why() -> None:
    assert StateChanged(State.NEW, State.CHECKING, None) == CHECKING
    assert StateChanged(State.NEW, State.CONNECTED) != CHECKING
    assert StateChanged(State.NEW, State.CHECKING, FailureReason.CLOSED) != CHECKING
    assert repr(CHECKING) == f"StateChanged(old={State.NEW!r}, new={State.CHECKING!r}, reason=None)"
    match CHECKING:
        case StateChanged(old, new, reason=None):
            assert (old, new) == (State.NEW, State.CHECKING)
        case _:
            pytest.fail("it is a StateChanged")


def test_a_selected_pair_is_told_as_it_is() -> None:
    one, other = (CandidatePair(local(1), remote(number), Role.CONTROLLING) for number in (1, 2))
    assert PairSelected(one) == PairSelected(one)
    assert PairSelected(one) != PairSelected(other)
    match PairSelected(one):
        case PairSelected(pair):
            assert pair is one
        case _:
            pytest.fail("it is a PairSelected")
