"""The clock of restarts: it asks at the right moments, takes offers back, and stops."""

from __future__ import annotations

import asyncio
from collections import Counter

from ice import Description
from tests.simulation.loop import virtual_time
from tests.webrtc_bridge.test_offer_answer import Side, connected
from webrtc_bridge.config import RestartConfig
from webrtc_bridge.restart_timer import RestartTimer
from webrtc_bridge.states import SignalingState


def timer(side: Side) -> tuple[RestartTimer, list[float]]:
    asked: list[float] = []
    loop = asyncio.get_running_loop()
    room = side.room
    return RestartTimer(RestartConfig(), Counter(), room, lambda: asked.append(loop.time()), side.roll_back), asked


@virtual_time
async def test_it_asks_again_and_takes_the_offer_back_at_last() -> None:
    offerer, _ = connected()
    clock, asked = timer(offerer)
    clock.want()
    assert clock.is_wanted
    assert asked == []  # not from within the caller
    await asyncio.sleep(1)
    offerer.room.offer(Description("later", "l" * 24), (), False)
    await asyncio.sleep(100)
    assert asked == [0.0, 5.0, 15.0]
    assert offerer.room.state is SignalingState.STABLE
    assert not clock.is_wanted
    assert offerer.rolled_back == 1


@virtual_time
async def test_the_first_offerer_begins_at_once_and_the_other_later() -> None:
    for side, expected in zip(connected(), (0.0, RestartConfig().patience), strict=True):
        began = asyncio.get_running_loop().time()
        clock, asked = timer(side)
        clock.suggest()
        await asyncio.sleep(4)
        assert [at - began for at in asked] == [expected]
        clock.done()
        await asyncio.sleep(100)
        assert len(asked) == 1


@virtual_time
async def test_what_heals_or_is_done_needs_no_asking_and_what_gave_way_asks_again() -> None:
    _, answerer = connected()
    clock, asked = timer(answerer)
    clock.suggest()
    clock.healed()
    clock.offer_again()
    await asyncio.sleep(100)
    assert asked == []
    clock.want()
    await asyncio.sleep(1)
    clock.offer_again()
    await asyncio.sleep(1)
    assert asked == [100.0, 101.0]
    clock.done()
    assert [clock.admits() for _ in range(10)] == [True] * 8 + [False] * 2
