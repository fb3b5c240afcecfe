"""Groups of sessions: in the simulated world to the millisecond, and on real sockets."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from ice.aio import SessionGroup
from ice.config import IceConfig
from ice.description import Description
from ice.errors import ConsentLostError, FailureReason, IceError, NoPathError, SessionClosedError
from ice.events import PairSelected, RestartReason, State
from ice.roles import Role
from tests.ice.groups import groups, talk, tie
from tests.ice.sessions import behind
from tests.simulation import World, virtual_time


@virtual_time
async def test_four_components_connect_in_four_slots() -> None:
    world = World(1)
    one, other = groups(world)
    async with one, other:
        told = tie(one, other)
        tie(other, one)
        before = asyncio.get_running_loop().time()
        await asyncio.gather(one.connect(), other.connect())
        took = asyncio.get_running_loop().time() - before
        assert 3 * IceConfig().ta < took < 4 * IceConfig().ta  # Three further slots, and a round trip.
        await talk(one, other)
        await talk(other, one)
        await asyncio.sleep(1)
        assert one.state is other.state is State.COMPLETED
        for stream in ("audio", "video"):
            *candidates, end = [candidate for name, candidate in told if name == stream]
            assert end is None
            assert [each.component for each in candidates if each is not None] == [1, 2]
            assert one.local_candidates(stream) == candidates
        sent = [session.stats().agent.pairs[0].requests_sent for session in one.sessions]
        assert sent == [1, 1, 1, 1]


@virtual_time
async def test_all_restart_together_and_data_goes_on() -> None:
    one, other = groups(World(1))
    async with one, other:
        tie(one, other)
        tie(other, one)
        await asyncio.gather(one.connect(), other.connect())
        told: list[tuple[str, Description]] = []
        other.on("restart", lambda stream, description: told.append((stream, description)))
        selected: list[PairSelected] = []
        for session in other.sessions:
            session.on("selectedpair", selected.append)
        descriptions = one.restart()
        assert descriptions == one.local_descriptions
        await talk(one, other)
        await asyncio.sleep(2)
        assert [stream for stream, _ in told] == ["audio", "video"]
        assert dict(told) == other.local_descriptions
        assert len(selected) == 4
        assert one.state is other.state is State.COMPLETED
        await talk(other, one)


@virtual_time
async def test_states_are_told_and_a_component_that_ends_is_the_end() -> None:
    one, other = groups(World(1))
    async with one, other:
        tie(one, other)
        tie(other, one)
        states: list[State] = []
        one.on("statechange", states.append)
        await asyncio.gather(one.connect(), other.connect())
        await asyncio.sleep(1)
        assert (states[0], states[-1]) == (State.CHECKING, State.COMPLETED)
        one.session("video", 2).revoke_consent()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert states[-1] is State.FAILED
        assert one.failure_reason is FailureReason.CONSENT_REVOKED
        with pytest.raises(ConsentLostError):
            await one.connect()
        with pytest.raises(IceError):
            one.restart()


@virtual_time
async def test_a_required_component_without_a_path_fails_the_group_and_an_optional_one_does_not() -> None:
    for required in (True, False):
        world = World(1)
        one = SessionGroup(Role.CONTROLLING, None, behind(world, 1, None).network(), random.Random(1))
        other = SessionGroup(Role.CONTROLLED, None, behind(world, 2, None).network(), random.Random(2))
        async with one, other:
            for group in (one, other):
                group.add("audio", 1)
            one.add("audio", 2, required=required)
            tie(one, other)
            tie(other, one)
            if required:
                with pytest.raises(NoPathError):
                    await asyncio.gather(one.connect(), other.connect())
                assert one.state is State.FAILED
            else:
                await asyncio.gather(one.connect(), other.connect())
                await asyncio.sleep(100)
                assert one.session("audio", 2).state is State.FAILED
                assert one.state is State.COMPLETED
            dropped = other.session("audio").stats().agent.dropped
            assert dropped["remote candidate: another component"] == 1


@virtual_time
async def test_a_component_may_be_closed_where_the_peer_has_none() -> None:
    one, other = groups(World(1))
    async with one, other:
        await asyncio.gather(
            *(group.session(stream, 2).close() for group in (one, other) for stream in ("audio", "video"))
        )
        tie(one, other)
        tie(other, one)
        await asyncio.gather(one.connect(), other.connect())
        await asyncio.sleep(1)
        assert one.state is other.state is State.COMPLETED


@virtual_time
async def test_a_wish_for_a_restart_names_the_stream() -> None:
    one, _ = groups(World(1))
    async with one:
        wishes: list[tuple[str, RestartReason]] = []
        one.on("restartwanted", lambda stream, reason: wishes.append((stream, reason)))
        one.session("video", 2).emit("restartwanted", RestartReason.PATH_DEAD)
        assert wishes == [("video", RestartReason.PATH_DEAD)]
    one.session("video", 2).emit("restartwanted", RestartReason.PATH_DEAD)
    assert len(wishes) == 1
    with pytest.raises(SessionClosedError):
        one.session("audio").send(b"x")


async def test_on_real_sockets_in_both_roles_and_with_a_conflict() -> None:
    config = replace(IceConfig.for_loopback(), include_ipv6=False)
    for conflict in (False, True):
        one, other = groups(config=config)
        if conflict:
            one.role = other.role
        async with one, other:
            tie(one, other)
            tie(other, one)
            async with asyncio.timeout(10):
                await asyncio.gather(one.connect(), other.connect())
            await talk(one, other)
            await talk(other, one)
            assert one.role is other.role.other
            ports = {session.selected_pair.path.local.port for session in one.sessions if session.selected_pair}
            assert len(ports) == 4
