"""Our candidates: found, held back until their description went out, and found again after a restart."""

from __future__ import annotations

import asyncio
from typing import cast

from ice import Candidate, Role, Session
from signalling.libp2p.webrtc_signalling import IceCandidate
from tests.simulation.loop import virtual_time
from tests.webrtc_bridge.pipe import PipeSession
from webrtc_bridge.local_candidates import LocalCandidates

FOUND = Candidate.from_sdp("candidate:1 1 udp 1 192.0.2.1 9 typ host ufrag abcd")


def room() -> tuple[LocalCandidates, PipeSession, list[IceCandidate | None], list[str]]:
    below = PipeSession(Role.CONTROLLING)
    told: list[IceCandidate | None] = []
    states: list[str] = []
    candidates = LocalCandidates(
        cast(Session, below), told.append, lambda: states.append(candidates.state), lambda: ("data", 2)
    )
    return candidates, below, told, states


@virtual_time
async def test_each_is_told_with_its_section_and_generation_and_then_the_end() -> None:
    candidates, below, told, states = room()
    assert candidates.start() is candidates.start()
    await candidates.start()
    assert told[-1] is None
    (first,) = [item for item in told if item is not None]
    assert (first.sdp_mid, first.sdp_mline_index) == ("data", 2)
    assert first.username_fragment == below.local_description.ufrag
    assert states == ["gathering", "complete"]
    assert candidates.described() == [candidate.to_sdp() for candidate in below.local_candidates]
    below.emit("candidate", FOUND)
    assert told[-1] is not None
    assert told[-1].username_fragment == "abcd"


@virtual_time
async def test_what_is_held_is_told_in_order_and_not_from_within_the_caller() -> None:
    candidates, _, told, _ = room()
    candidates.hold()
    candidates.hold()
    await candidates.start()
    assert told == []
    candidates.release()
    assert told == []
    await asyncio.sleep(0)
    assert [item is None for item in told] == [False, True]
    candidates.release()  # harmless twice
    await asyncio.sleep(0)
    assert len(told) == 2


@virtual_time
async def test_a_restart_gathers_again_only_if_it_was_begun_and_an_end_of_before_is_not_told() -> None:
    candidates, below, told, states = room()
    candidates.again()
    assert candidates.task is None
    await candidates.start()
    below.gathering_complete = False
    candidates.again()
    assert candidates.state == "gathering"
    told.clear()
    below.emit("candidate", None)
    assert told == []
    await candidates.start()
    assert told[-1] is None
    assert states == ["gathering", "complete"] * 2
