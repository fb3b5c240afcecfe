"""Whatever comes from the network, an ICE agent takes it: no exception, bounded tables, an undisturbed session."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ice.candidate import Candidate
from ice.config import IceConfig
from ice.errors import CandidateError
from ice.events import State
from ice.lite_config import LiteConfig
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.message import MessageClass
from tests.ice.builders import request
from tests.ice.stepper import A, B, Side, Wire, describe, tell_candidates
from tests.properties import targets_ice

addresses = st.builds(
    TransportAddress, st.sampled_from(["192.0.2.1", "203.0.113.7", "2001:db8::7"]), st.integers(1, 65535)
)


def recorded() -> list[bytes]:
    """Every kind of datagram of one trip."""
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, seed=2)
    wire = Wire(a, b)
    describe(a, b)
    tell_candidates(a, b)
    tell_candidates(b, a)
    wire.run(until=20.0)
    return [message.wire for _, message, _ in wire.log]


TRIP = recorded()
CANDIDATES = (Path(__file__).parents[1] / "vectors" / "ice" / "candidates.txt").read_text().splitlines()


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A datagram of a real trip with some bytes changed, cut or added."""
    data = bytearray(draw(st.sampled_from(TRIP)))
    for _ in range(draw(st.integers(0, 4))):
        match draw(st.integers(0, 3)):
            case 0 if data:
                data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
            case 1:
                del data[draw(st.integers(0, len(data))) :]
            case 2:
                data += draw(st.binary(max_size=40))
            case 3 if len(data) >= 4:
                data[2:4] = (len(data) - 20 & 0xFFFF).to_bytes(2, "big")
    return bytes(data)


@st.composite
def signed(draw: st.DrawFn, ufrag: str, pwd: str) -> bytes:
    """A check that authenticates, with anything in it: a peer that means ill."""
    extra = []
    if draw(st.booleans()):
        extra.append((att.USE_CANDIDATE, True))
    if draw(st.booleans()):
        extra.append((att.unknown_attribute(draw(st.integers(0, 65535).filter(lambda c: c not in att.BY_CODE))), b"x"))
    role = draw(st.sampled_from([att.ICE_CONTROLLING, att.ICE_CONTROLLED]))
    return request(
        f"{ufrag}:{draw(st.sampled_from(['peer', 'other', '']))}",
        pwd,
        *extra,
        priority=draw(st.none() | st.integers(0, 2**32 - 1)),
        role=draw(st.none() | st.tuples(st.just(role), st.integers(0, 2**64 - 1))),
        transaction_id=draw(st.binary(min_size=12, max_size=12)),
    )


def drain(side: Side) -> None:
    while side.agent.next_effect() is not None:
        pass
    side.drain_events()


@pytest.mark.parametrize("lite", [LiteConfig(), LiteConfig(enabled=True)], ids=["full", "lite"])
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_an_agent_survives_any_datagrams_in_any_state(lite: LiteConfig, data: st.DataObject) -> None:
    side = Side(Role.CONTROLLED, B, config=IceConfig(lite=lite))
    peer = Side(Role.CONTROLLING, A, seed=2)
    local = side.agent.local_description
    now = 0.0
    for _ in range(data.draw(st.integers(1, 12))):
        match data.draw(st.integers(0, 6)):
            case 0:
                side.agent.receive_datagram(data.draw(st.binary(max_size=200)), FiveTuple(B, data.draw(addresses)), now)
            case 1:
                side.agent.receive_datagram(data.draw(mutated()), FiveTuple(B, data.draw(addresses)), now)
            case 2 | 3:
                check = data.draw(signed(local.ufrag, local.pwd))
                side.agent.receive_datagram(check, FiveTuple(B, data.draw(addresses)), now)
            case 4:
                if side.agent.remote_description is None:
                    side.agent.set_remote_description(peer.agent.local_description, now)
            case 5:
                tell_candidates(side, peer, now, end=False)
            case 6:
                now += data.draw(st.sampled_from([0.01, 0.5, 3.0, 20.0]))
                side.agent.handle_timeout(now)
        drain(side)
        deadline = side.agent.next_timeout()
        assert deadline is None or deadline.at >= 0.0
    assert len(side.agent.stats().pairs) <= 100
    assert not lite.enabled or all(pair.requests_sent == 0 for pair in side.agent.stats().pairs)
    side.agent.close(now)


@given(st.lists(st.tuples(mutated() | st.binary(max_size=100), addresses), max_size=20))
@settings(max_examples=60, deadline=None)
def test_a_live_session_goes_on_under_a_shower_of_junk(junk: list[tuple[bytes, TransportAddress]]) -> None:
    a, b = Side(Role.CONTROLLING, A, seed=11), Side(Role.CONTROLLED, B, seed=12)
    wire = Wire(a, b)
    describe(a, b)
    tell_candidates(a, b)
    tell_candidates(b, a)
    wire.run(until=0.0)
    for data, source in junk:
        b.agent.receive_datagram(data, FiveTuple(B, source), 1.0)
        a.agent.receive_datagram(data, FiveTuple(A, source), 1.0)
    wire.now = 1.0
    wire.run(until=60.0)
    for side in (a, b):
        assert side.agent.state is State.COMPLETED
        assert len(side.agent.stats().pairs) == 1
    assert a.agent.selected_path == FiveTuple(A, B)
    assert sum(message.message_class is MessageClass.REQUEST for _, message, _ in wire.log) < 40


@given(st.text(max_size=300))
@settings(max_examples=300, deadline=None)
def test_candidate_text_parses_or_raises_the_one_error(text: str) -> None:
    try:
        candidate = Candidate.from_sdp(text)
    except CandidateError:
        return
    assert Candidate.from_sdp(candidate.to_sdp()) == candidate


words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)


@given(st.lists(words, min_size=0, max_size=12), st.integers(0, 70000), st.integers(0, 2**33))
@settings(max_examples=300, deadline=None)
def test_near_candidates_parse_or_raise_the_one_error(tail: list[str], port: int, priority: int) -> None:
    text = f"candidate:1 1 udp {priority} 192.0.2.1 {port} typ srflx " + " ".join(tail)
    try:
        candidate = Candidate.from_sdp(text)
    except CandidateError:
        return
    assert Candidate.from_sdp(candidate.to_sdp()) == candidate


@given(st.text(max_size=80) | st.sampled_from(CANDIDATES))
def test_the_fuzz_target_for_candidates(text: str) -> None:
    targets_ice.fuzz_ice_candidate(text.encode("utf-8", "replace"))


@given(mutated() | st.binary(max_size=100))
@settings(max_examples=40, deadline=None)
def test_the_fuzz_target_for_agents(data: bytes) -> None:
    targets_ice.fuzz_ice_agent(data)
