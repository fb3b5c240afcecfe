"""Fuzz targets of floor 2. An exception that leaves one of them is a fault."""

from __future__ import annotations

from ice.candidate import Candidate
from ice.config import IceConfig
from ice.description import Description
from ice.errors import CandidateError
from ice.lite_config import LiteConfig
from ice.roles import Role
from stun.address import FiveTuple
from tests.ice.mux_stage import OTHER, PEER, Member, Stage
from tests.ice.stepper import A, B, Side, Wire, describe, tell_candidates

THEIRS = Description("theirs", "their-password-their-password")


def fuzz_ice_candidate(data: bytes) -> None:
    """Any text is a candidate or a CandidateError, and what is a candidate is written and read again the same."""
    try:
        candidate = Candidate.from_sdp(data.decode("utf-8", "replace"))
    except CandidateError:
        return
    assert Candidate.from_sdp(candidate.to_sdp()) == candidate
    side = Side(Role.CONTROLLING, A)
    side.agent.set_remote_description(THEIRS, 0.0)
    side.agent.add_remote_candidate(candidate, 0.0)
    side.agent.handle_timeout(0.0)  # A name is asked for,
    side.agent.handle_timeout(10.0)  # and nobody answers.
    stats = side.agent.stats()
    waiting = len(side.agent._generations.early)  # For the description of the generation that it names.
    assert len(stats.pairs) + sum(stats.dropped.values()) + waiting == 1


def fuzz_ice_agent(data: bytes) -> None:
    """No datagram upsets an agent, new, checking or connected, and none ends a session."""
    fresh = Side(Role.CONTROLLED, B, seed=3)
    checking = Side(Role.CONTROLLED, B, seed=4)
    checking.agent.set_remote_description(THEIRS, 0.0)
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, seed=2)
    wire = Wire(a, b)
    describe(a, b)
    tell_candidates(a, b)
    tell_candidates(b, a)
    wire.run(until=0.0)
    lite = Side(Role.CONTROLLED, B, seed=5, config=IceConfig(lite=LiteConfig(enabled=True)))
    lite.agent.set_remote_description(THEIRS, 0.0)
    for side in (fresh, checking, b, lite):
        before = side.agent.state
        side.agent.receive_datagram(data, FiveTuple(B, A), 1.0)
        side.agent.handle_timeout(1.5)
        assert side.agent.state is before


def fuzz_ice_mux(data: bytes) -> None:
    """No datagram of a stranger upsets a mux, gets a route or is remembered."""
    stage = Stage()
    member = Member(stage, "first")
    member.trusts = False
    member.meet(PEER)
    before = len(member.heard)
    stage.arrive(data, OTHER)
    stats = stage.routes.stats()
    assert len(member.heard) - before + sum(stats.dropped.values()) == 1
    assert (stats.addresses, stats.awaited) == (1, 0)
    stage.arrive(data, PEER)
