from __future__ import annotations

import random

import pytest

from ice.roles import Conflict, Role, RoleKeeper


def keeper(role: Role, tiebreaker: int) -> RoleKeeper:
    roles = RoleKeeper(role, random.Random(1))
    roles.tiebreaker = tiebreaker
    return roles


# RFC 8445 section 7.3.1.1
@pytest.mark.parametrize(
    ("ours", "theirs", "own", "received", "verdict"),
    [
        (Role.CONTROLLING, Role.CONTROLLED, 1, 9, Conflict.NONE),
        (Role.CONTROLLED, Role.CONTROLLING, 9, 1, Conflict.NONE),
        (Role.CONTROLLING, Role.CONTROLLING, 5, 4, Conflict.REFUSE),
        (Role.CONTROLLING, Role.CONTROLLING, 5, 5, Conflict.REFUSE),
        (Role.CONTROLLING, Role.CONTROLLING, 5, 6, Conflict.YIELD),
        (Role.CONTROLLED, Role.CONTROLLED, 5, 4, Conflict.YIELD),
        (Role.CONTROLLED, Role.CONTROLLED, 5, 5, Conflict.YIELD),
        (Role.CONTROLLED, Role.CONTROLLED, 5, 6, Conflict.REFUSE),
    ],
)
def test_who_yields(ours: Role, theirs: Role, own: int, received: int, verdict: Conflict) -> None:
    assert keeper(ours, own).judge(theirs, received) is verdict


def test_yielding_keeps_the_tiebreaker() -> None:
    roles = keeper(Role.CONTROLLING, 5)
    roles.switch()
    assert (roles.role, roles.tiebreaker, roles.switches) == (Role.CONTROLLED, 5, 1)


def test_a_refusal_changes_role_and_tiebreaker() -> None:
    roles = keeper(Role.CONTROLLING, 5)
    assert roles.refused(Role.CONTROLLING)
    assert roles.role is Role.CONTROLLED
    assert roles.tiebreaker != 5


def test_a_late_refusal_of_the_old_role_changes_nothing() -> None:
    roles = keeper(Role.CONTROLLED, 5)
    assert not roles.refused(Role.CONTROLLING)
    assert (roles.role, roles.tiebreaker, roles.switches) == (Role.CONTROLLED, 5, 0)
