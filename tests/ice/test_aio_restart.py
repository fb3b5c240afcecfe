"""Restarts of whole sessions: behind NATs, with relays, over an exchange, and with data that does not stop."""

from __future__ import annotations

import asyncio

import ice
from ice.aio import Session
from ice.candidate import CandidateType
from ice.events import State
from ice.relay import RelayState
from tests.ice.sessions import STUN, WIRE, behind, pair
from tests.ice.test_relay_sessions import BOTH, RELAYED, relayed_pair
from tests.simulation import NatBehaviour, World, virtual_time
from tests.simulation.stun_server import stun_server


class Stream:
    """Numbered datagrams, one every 2 ms, and what of them arrived."""

    def __init__(self, source: Session, sink: Session) -> None:
        self.sent = 0
        self.heard: list[int] = []
        self._source = source
        self._sink = sink

    async def run(self, seconds: float) -> None:
        hearing = asyncio.create_task(self._hear())
        for _ in range(int(seconds / 0.002)):
            self._source.send(self.sent.to_bytes(4, "big"))
            self.sent += 1
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.5)
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
        assert sorted(self.heard) == list(range(self.sent)), "a datagram was lost, or came twice"

    async def _hear(self) -> None:
        while True:
            self.heard.append(int.from_bytes(await self._sink.receive(), "big"))


async def both_ends(world: World, nat: NatBehaviour | None, config: ice.IceConfig, act: object) -> None:
    """Two ends of an exchange, 20 ms apart; ``act(paths)`` while they are connected."""
    hosts = [behind(world, index, nat, link=WIRE) for index in (1, 2)]
    ends = ice.exchange_pair()
    paths: list[ice.Path | None] = [None, None]
    done = asyncio.Event()

    async def side(index: int, role: ice.Role) -> None:
        async with ice.connect(ends[index], role=role, config=config, network=hosts[index].network()) as path:
            paths[index] = path
            await done.wait()

    tasks = [asyncio.create_task(side(0, ice.Role.CONTROLLING)), asyncio.create_task(side(1, ice.Role.CONTROLLED))]
    try:
        while None in paths:
            await asyncio.sleep(0.05)
            for task in tasks:
                if task.done():
                    task.result()
        await act(*paths)  # type: ignore[operator]
    finally:
        done.set()
        await asyncio.gather(*tasks)


@virtual_time
async def test_a_restart_over_an_exchange_loses_no_datagram() -> None:
    world = World(3)
    stun_server(world, STUN)

    async def act(first: ice.Path, second: ice.Path) -> None:
        streams = Stream(first.session, second.session), Stream(second.session, first.session)
        running = asyncio.gather(*(stream.run(4.0) for stream in streams))
        before = first.session.local_description, second.session.local_description
        await asyncio.sleep(1.0)
        first.restart()
        await asyncio.sleep(1.0)
        second.restart()
        await asyncio.sleep(1.0)
        first.restart()
        second.restart()
        await running
        after = first.session.local_description, second.session.local_description
        assert not set(before) & set(after)
        assert first.session.remote_description == after[1]
        assert second.session.remote_description == after[0]
        assert first.stats().selected_pair_changes == second.stats().selected_pair_changes == 4
        assert first.session.state is second.session.state is State.COMPLETED

    config = ice.IceConfig(stun_servers=[STUN])
    await both_ends(world, NatBehaviour.port_restricted_cone(), config, act)


@virtual_time
async def test_the_allocation_in_use_outlives_a_restart() -> None:
    async with relayed_pair(RELAYED) as both:
        await both.connect()
        before = both.controlling.selected_pair
        both.controlled.on("restart", both.controlling.set_remote_description)
        both.controlling.on("restart", both.controlled.set_remote_description)
        both.controlled.on("candidate", both.controlling.add_remote_candidate)
        both.controlling.on("candidate", both.controlled.add_remote_candidate)
        streams = Stream(both.controlling, both.controlled), Stream(both.controlled, both.controlling)
        running = asyncio.gather(*(stream.run(3.0) for stream in streams))
        both.controlled.restart()
        await running
        after = both.controlling.selected_pair
        assert before is not None
        assert after is not None
        assert after.path == before.path
        assert both.controlling.stats().selected_pair_changes == 2


@virtual_time
async def test_a_restart_asks_again_for_allocations_that_were_given_back() -> None:
    async with relayed_pair(BOTH) as both:
        await both.connect()
        await asyncio.sleep(10)
        assert [relay.state for relay in both.controlling.stats().agent.relays] == [RelayState.RELEASED]
        both.controlled.on("restart", both.controlling.set_remote_description)
        found: list[ice.Candidate | None] = []
        both.controlling.on("candidate", found.append)
        both.controlling.restart()
        await asyncio.sleep(2)
        assert CandidateType.RELAYED in {candidate.type for candidate in found if candidate is not None}
        assert found[-1] is None


@virtual_time
async def test_server_reflexive_candidates_are_asked_for_again() -> None:
    world = World(4)
    stun_server(world, STUN)
    nats = (NatBehaviour.port_restricted_cone(), NatBehaviour.port_restricted_cone())
    async with pair(nats, ice.IceConfig(stun_servers=[STUN]), world=world) as both:
        await both.connect()
        await asyncio.sleep(5)
        found: list[ice.Candidate | None] = []
        both.controlling.on("candidate", found.append)
        restarted = both.controlling.restart()
        assert not both.controlling.gathering_complete
        await both.controlling.gather()
        await asyncio.sleep(0)
        candidates = [candidate for candidate in found if candidate is not None]
        assert [candidate.type for candidate in candidates] == [CandidateType.HOST, CandidateType.SERVER_REFLEXIVE]
        assert {candidate.ufrag for candidate in candidates} == {restarted.ufrag}
        assert both.controlling.local_candidates == candidates
