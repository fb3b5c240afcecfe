"""The spare pairs of a session: which of them may still turn out to be good."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ice.candidate import Candidate
from ice.checklist import CheckList
from ice.life_config import UpgradeConfig
from ice.pair import CandidatePair, PairState
from ice.roles import Role
from ice.upgrade import Spares


def pair(port: int, kind: str) -> CandidatePair:
    tail = {"udp": "typ host", "tcp": "typ host tcptype active"}[kind]
    local = Candidate.from_sdp(f"1 1 {kind} 1000 192.0.2.1 {port} {tail}")
    remote = Candidate.from_sdp(f"1 1 {kind} 1000 192.0.2.2 {port} {tail.replace('active', 'passive')}")
    return CandidatePair(replace(local, base=local.address), remote, Role.CONTROLLING)


def spares_with(kind: str, state: PairState) -> tuple[Spares, CandidatePair]:
    spares, spare = Spares(UpgradeConfig(), CheckList(100)), pair(2, kind)
    assert spares.add(spare, pair(1, "udp"), 0.0, soon=False)
    spare.state = state
    return spares, spare


@pytest.mark.parametrize("state", [PairState.WAITING, PairState.IN_PROGRESS])
@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_a_pair_that_is_being_checked_gives_hope(kind: str, state: PairState) -> None:
    spares, _ = spares_with(kind, state)
    assert spares.has_hope


def test_an_idle_pair_gives_hope_until_it_has_not_answered() -> None:
    spares, spare = spares_with("udp", PairState.FAILED)
    assert spares.has_hope
    assert list(spares.due(2.0)) == [spare]
    spares.failed(spare, 3.0)
    assert not spares.has_hope
    spares.hurry(4.0)
    assert spares.has_hope


def test_a_connection_that_failed_gives_none_since_it_is_not_opened_again() -> None:
    # A session whose path was dead waited for it for ever, and so never asked for the restart that would have helped.
    spares, _ = spares_with("tcp", PairState.FAILED)
    assert list(spares.due(2.0)) == []
    assert not spares.has_hope
    spares.hurry(3.0)
    assert not spares.has_hope
