"""Restarts of data peers over signalling that loses, doubles, delays and reorders, in a simulated world."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulation import virtual_time
from tests.webrtc_bridge.restart_stage import PLAIN, Stage, stage
from tests.webrtc_bridge.test_simulated import talk
from webrtc_bridge.config import PeerConfig, RestartConfig
from webrtc_bridge.sdp import SdpType
from webrtc_bridge.states import SignalingState

OFTEN = PeerConfig(ice=PLAIN, restart=RestartConfig(max_peer_restarts=1000))
QUIET = 45.0
"""Seconds in which every offer has been answered or taken back (`RestartConfig`)."""


async def later_restart_works(both: Stage, index: int) -> None:
    """Restart once more: both have a pair of the same two descriptions then, a new one for the side that began."""
    peer = both.peers[index]
    before = peer.session.stats().selected_pair_changes
    peer.restart_ice()
    await asyncio.sleep(3)
    assert peer.session.stats().selected_pair_changes == before + 1
    assert all(each.session._agent._generations.current.selected is not None for each in both.peers)
    await both.agreed()


@pytest.mark.parametrize("first", [0, 1], ids=["the offerer", "the answerer"])
@pytest.mark.parametrize("later", [0, 1])
@virtual_time
async def test_when_an_answer_is_lost_and_its_sender_restarts_both_have_a_new_pair(first: int, later: int) -> None:
    async with stage(OFTEN) as both:
        before = both.credentials()
        both.wire.loses = lambda kind: kind is SdpType.ANSWER
        both.peers[first].restart_ice()
        await asyncio.sleep(0.1)
        both.wire.loses = lambda kind: False
        both.peers[1 - first].restart_ice()
        await asyncio.sleep(QUIET)
        assert not set(before) & set(both.credentials())
        await both.agreed()
        await later_restart_works(both, later)


@virtual_time
async def test_what_was_offered_in_vain_is_rolled_back_and_candidates_are_told_of_what_comes_instead() -> None:
    async with stage(OFTEN) as both:
        both.wire.loses = lambda kind: kind is SdpType.ANSWER
        both.answerer.restart_ice()
        await asyncio.sleep(0.1)
        vain = both.answerer.session.local_description.ufrag
        told: list[str | None] = []
        both.answerer.on("icecandidate", lambda item: told.append(item and item.username_fragment))
        both.wire.loses = lambda kind: False
        both.offerer.restart_ice()
        await asyncio.sleep(1)
        fresh = both.answerer.session.local_description.ufrag
        assert fresh != vain
        assert set(told) == {fresh, None}
        await both.agreed()


RESTARTS = st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.03, 0.5, 6.0, 40.0])), min_size=1, max_size=6)


@settings(max_examples=15, deadline=None)
@given(RESTARTS, st.randoms(use_true_random=False), st.integers(0, 1))
def test_whatever_happens_to_descriptions_the_path_lives_on_and_a_later_restart_works(
    restarts: list[tuple[int, float]], rng: random.Random, later: int
) -> None:
    def detours(kind: SdpType) -> tuple[float, ...]:
        return tuple(rng.choice([0.005, 0.02, 0.3, 7.0]) for _ in range(rng.choice([0, 1, 1, 2])))

    @virtual_time
    async def live() -> None:
        async with stage(OFTEN) as both:
            both.wire.detours = detours
            for index, pause in restarts:
                both.peers[index].restart_ice()
                await asyncio.sleep(pause)
            await asyncio.sleep(QUIET)
            both.wire.detours = None
            await asyncio.sleep(QUIET)
            assert {peer.signaling_state for peer in both.peers} == {SignalingState.STABLE}
            assert await talk(both.trip, 20_000) == bytes(20_000)
            await later_restart_works(both, later)

    live()
