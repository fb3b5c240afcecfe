"""Sessions in a world without NATs: the interface, the events, data, closing, failing."""

from __future__ import annotations

import asyncio

import pytest

from ice.aio import Session
from ice.candidate import Candidate, CandidateType
from ice.config import IceConfig
from ice.errors import ConsentLostError, FailureReason, IceError, NoPathError, SessionClosedError
from ice.events import State
from ice.roles import Role
from stun.address import TransportAddress
from tests.ice.sessions import WIRE, behind, pair, session, trickle
from tests.simulation import World, virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


@virtual_time
async def test_two_sessions_connect_in_two_round_trips_and_talk() -> None:
    async with pair() as both:
        before = now()
        await both.connect()
        assert now() - before < 0.05, "one round trip to check, one to nominate"
        assert both.controlling.state.is_usable
        assert both.controlled.state.is_usable
        both.controlling.send(b"ping")
        assert await both.controlled.receive() == b"ping"
        both.controlled.send(b"pong")
        assert await both.controlling.receive() == b"pong"
        selected = both.controlling.selected_pair
        assert selected is not None
        assert selected.local.address.host == "198.51.100.1"
        assert selected.remote.address.host == "198.51.100.2"


@virtual_time
async def test_the_events_in_their_order() -> None:
    async with pair() as both:
        told: list[tuple[str, object]] = []
        for name in ("candidate", "statechange", "selectedpair", "closed"):
            both.controlling.on(name, lambda argument, name=name: told.append((name, argument)))
        await both.connect()
        await asyncio.sleep(1)
        selected = both.controlling.selected_pair
        await both.close()
        await asyncio.sleep(0)
    (candidate,) = both.controlling.local_candidates
    assert candidate.type is CandidateType.HOST
    assert told == [
        ("statechange", State.CHECKING),
        ("candidate", candidate),
        ("candidate", None),
        ("selectedpair", selected),
        ("statechange", State.COMPLETED),
        ("statechange", State.CLOSED),
        ("closed", FailureReason.CLOSED),
    ]


@virtual_time
async def test_a_handler_may_close_the_session_and_may_raise() -> None:
    async with pair() as both:
        errors: list[Exception] = []
        both.controlled.on("error", errors.append)

        def broken(_: object) -> None:
            raise ZeroDivisionError

        both.controlled.on("selectedpair", broken)

        async def hang_up(_: object) -> None:
            await both.controlling.close()

        both.controlling.on("selectedpair", hang_up)
        trickle(both.controlling, both.controlled)
        trickle(both.controlled, both.controlling)
        await asyncio.gather(both.controlling.gather(), both.controlled.connect())
        await asyncio.sleep(1)
        assert both.controlling.state is State.CLOSED
        assert both.controlled.state.is_usable
        assert [type(error) for error in errors] == [ZeroDivisionError]


@virtual_time
async def test_gathering_is_told_once_and_awaited_often() -> None:
    world = World()
    host = world.host("alice", world.internet, "203.0.113.1", "2001:db8::1")
    alone = session(host, Role.CONTROLLING)
    assert alone.local_candidates == []
    assert not alone.gathering_complete
    told: list[Candidate | None] = []
    alone.on("candidate", told.append)
    await asyncio.gather(alone.gather(), alone.gather())
    await alone.gather()
    assert told == [*alone.local_candidates, None]
    assert {candidate.address.host for candidate in alone.local_candidates} == {"203.0.113.1", "2001:db8::1"}
    assert alone.gathering_complete
    await alone.close()


@virtual_time
async def test_a_machine_with_loopback_only_uses_it() -> None:
    world = World()
    host = world.host("alice", world.internet, "203.0.113.1")
    host.remove_address("203.0.113.1")
    host.interfaces = lambda: [*world.host("twin", world.internet, "203.0.113.2").interfaces()[:1]]  # type: ignore[method-assign]
    alone = session(host, Role.CONTROLLING)
    await alone.gather()
    assert [candidate.address.host for candidate in alone.local_candidates] == ["127.0.0.1"]
    await alone.close()


@virtual_time
async def test_an_address_that_cannot_be_bound_is_left_out() -> None:
    world = World()
    host = world.host("alice", world.internet, "203.0.113.1", "203.0.113.2")
    interfaces = host.interfaces()
    host.remove_address("203.0.113.1")
    host.interfaces = lambda: interfaces  # type: ignore[method-assign]
    alone = session(host, Role.CONTROLLING)
    await alone.gather()
    assert [candidate.address.host for candidate in alone.local_candidates] == ["203.0.113.2"]
    await alone.close()


@virtual_time
async def test_data_before_and_after_its_time_is_refused() -> None:
    async with pair() as both:
        with pytest.raises(IceError, match="no selected pair"):
            both.controlling.send(b"early")
        await both.connect()
        with pytest.raises(ValueError, match="empty"):
            both.controlling.send(b"")
        await both.controlling.close()
        with pytest.raises(SessionClosedError):
            both.controlling.send(b"late")
        with pytest.raises(SessionClosedError):
            await both.controlling.receive()
        with pytest.raises(SessionClosedError):
            await both.controlling.connect()
        with pytest.raises(SessionClosedError):
            await both.controlling.gather()
        both.controlling.add_remote_candidate(None)
        both.controlling.set_remote_description(both.controlled.local_description)
        assert both.controlling.receive_nowait() is None


@virtual_time
async def test_closing_wakes_everyone_who_waits() -> None:
    async with pair() as both:
        await both.connect()
        receiver = asyncio.create_task(both.controlling.receive())
        lonely = session(both.hosts[0], Role.CONTROLLING, seed=2)
        connecting = asyncio.create_task(lonely.connect())
        await asyncio.sleep(1)
        await both.controlling.close()
        await lonely.close()
        await lonely.close()
        for task in (receiver, connecting):
            with pytest.raises(SessionClosedError):
                await task


@virtual_time
async def test_closing_a_session_that_never_began() -> None:
    alone = Session()
    closed: list[object] = []
    alone.on("closed", closed.append)
    await alone.close()
    await asyncio.sleep(0)
    assert alone.state is State.CLOSED
    assert closed == [FailureReason.CLOSED]


@virtual_time
async def test_cancelling_connect_and_receive_harms_nothing() -> None:
    async with pair() as both:
        impatient = asyncio.create_task(both.controlling.connect())
        await asyncio.sleep(0)
        impatient.cancel()
        await both.connect()
        for turn in range(20):
            reader = asyncio.create_task(both.controlled.receive())
            await asyncio.sleep(0)
            data = turn.to_bytes(1, "big") * 8
            both.controlling.send(data)
            await asyncio.sleep(0.001 * turn)  # The datagram takes 10 ms: sometimes the reader has it, sometimes not.
            reader.cancel()
            (outcome,) = await asyncio.gather(reader, return_exceptions=True)
            received = outcome if isinstance(outcome, bytes) else await both.controlled.receive()
            assert received == data


@virtual_time
async def test_the_role_can_be_set_until_the_peer_is_known() -> None:
    async with pair(roles=(Role.CONTROLLED, Role.CONTROLLED)) as both:
        both.controlling.role = Role.CONTROLLING
        await both.connect()
        assert (both.controlling.role, both.controlled.role) == (Role.CONTROLLING, Role.CONTROLLED)
        with pytest.raises(IceError):
            both.controlling.role = Role.CONTROLLED


@pytest.mark.parametrize("role", list(Role))
@virtual_time
async def test_a_role_conflict_is_repaired(role: Role) -> None:
    async with pair(roles=(role, role)) as both:
        await both.connect()
        assert {both.controlling.role, both.controlled.role} == set(Role)
        both.controlling.send(b"through")
        assert await both.controlled.receive() == b"through"


@virtual_time
async def test_no_candidate_at_all_fails_with_a_reason() -> None:
    async with pair() as both:
        both.controlling.set_remote_description(both.controlled.local_description)
        both.controlling.add_remote_candidate(None)
        with pytest.raises(NoPathError) as caught:
            await both.controlling.connect()
        assert caught.value.reason is FailureReason.NO_CANDIDATE_PAIRS
        assert both.controlling.state is State.FAILED
        assert not both.hosts[0].sockets, "a failed session holds no sockets"


@virtual_time
async def test_a_dead_candidate_fails_with_a_reason() -> None:
    async with pair() as both:
        closed: list[object] = []
        both.controlling.on("closed", closed.append)
        both.controlling.set_remote_description(both.controlled.local_description)
        both.controlling.add_remote_candidate(
            Candidate("1", 1, "udp", 2130706431, TransportAddress("198.51.100.99", 9), CandidateType.HOST)
        )
        both.controlling.add_remote_candidate(None)
        with pytest.raises(NoPathError) as caught:
            await both.controlling.connect()
        assert caught.value.reason is FailureReason.CHECKS_FAILED
        assert closed == [FailureReason.CHECKS_FAILED]
        with pytest.raises(NoPathError):
            both.controlling.send(b"x")


@virtual_time
async def test_a_vanished_peer_is_noticed_within_thirty_seconds() -> None:
    async with pair() as both:
        await both.connect()
        states: list[State] = []
        closed: list[object] = []
        both.controlling.on("statechange", states.append)
        both.controlling.on("closed", closed.append)
        both.controlled.send(b"last words")
        await asyncio.sleep(12.0)
        both.hosts[1].vanish()
        gone = now()
        assert await both.controlling.receive() == b"last words"
        with pytest.raises(ConsentLostError) as caught:
            await both.controlling.receive()
        assert 23.0 <= now() - gone <= 30.0, "30 s after the last answer, which came at most 6 s before"
        assert caught.value.reason is FailureReason.CONSENT_EXPIRED
        assert states == [State.DISCONNECTED, State.FAILED]
        assert closed == [FailureReason.CONSENT_EXPIRED]
        with pytest.raises(ConsentLostError):
            both.controlling.send(b"x")


@virtual_time
async def test_revoked_consent_ends_the_session_at_once() -> None:
    async with pair() as both:
        await both.connect()
        both.controlling.revoke_consent()
        both.controlling.revoke_consent()
        with pytest.raises(ConsentLostError) as caught:
            both.controlling.send(b"x")
        assert caught.value.reason is FailureReason.CONSENT_REVOKED
        assert not both.hosts[0].sockets


@virtual_time
async def test_a_peer_that_comes_back_in_time_is_taken_back() -> None:
    async with pair() as both:
        await both.connect()
        states: list[State] = []
        both.controlling.on("statechange", states.append)
        both.hosts[1].vanish()
        await asyncio.sleep(20.0)
        assert both.controlling.state is State.DISCONNECTED
        both.hosts[1].reappear()
        await asyncio.sleep(10.0)
        assert states == [State.DISCONNECTED, State.COMPLETED]
        both.controlling.send(b"still here")
        assert await both.controlled.receive() == b"still here"


@virtual_time
async def test_a_quiet_session_lives_for_hours_and_costs_little() -> None:
    async with pair() as both:
        await both.connect()
        sent = both.hosts[0].sent
        await asyncio.sleep(7200.0)
        assert both.controlling.state is State.COMPLETED
        consent_checks_and_answers = both.hosts[0].sent - sent
        assert 2 * 1150 < consent_checks_and_answers < 2 * 1800, "one check and one answer every 4 to 6 seconds"


@virtual_time
async def test_statistics_add_up() -> None:
    async with pair() as both:
        await both.connect()
        for _ in range(10):
            both.controlling.send(bytes(100))
        await asyncio.sleep(1)
        stats = both.controlled.stats()
        assert (stats.packets_received, stats.bytes_received, stats.queued, stats.overflowed) == (10, 1000, 10, 0)
        sent = both.controlling.stats()
        assert (sent.packets_sent, sent.bytes_sent, sent.send_failures) == (10, 1000, 0)
        assert sent.selected_pair_changes == 1
        assert sent.agent.selected is not None
        assert sent.agent.selected.current_round_trip_time == pytest.approx(0.02)
        assert both.controlled.receive_nowait() == bytes(100)
        assert both.controlled.stats().queued == 9


@virtual_time
async def test_a_slow_reader_costs_the_oldest_datagrams_only() -> None:
    async with pair(config=IceConfig(max_queued_datagrams=100)) as both:
        await both.connect()
        for index in range(250):
            both.controlling.send(index.to_bytes(2, "big") + bytes(998))
        await asyncio.sleep(1)
        stats = both.controlled.stats()
        assert (stats.queued, stats.overflowed) == (100, 150)
        assert (await both.controlled.receive())[:2] == (150).to_bytes(2, "big")


@virtual_time
async def test_data_may_begin_like_stun() -> None:
    async with pair() as both:
        await both.connect()
        for data in (b"\x00", b"\x01\x01\x00\x00", b"\x00" * 19, b"\x00\x01\x00\x00" + bytes(16), b"\x03" * 30):
            both.controlling.send(data)
            assert await both.controlled.receive() == data


@virtual_time
async def test_a_candidate_may_come_before_its_description_and_late() -> None:
    async with pair() as both:
        await both.controlled.gather()
        for candidate in both.controlled.local_candidates:
            both.controlling.add_remote_candidate(candidate)
        assert both.controlling.remote_candidates == both.controlled.local_candidates
        connecting = asyncio.create_task(both.controlling.connect())
        await asyncio.sleep(10)
        both.controlled.set_remote_description(both.controlling.local_description)
        both.controlling.set_remote_description(both.controlled.local_description)
        assert both.controlling.remote_description == both.controlled.local_description
        await connecting
        await both.controlled.connect()


@virtual_time
async def test_only_the_wanted_addresses_become_candidates() -> None:
    world = World()
    host = world.host("alice", world.internet, "203.0.113.1", "2001:db8::1", link=WIRE)
    host.add_interface(world.internet, "203.0.113.77")
    for config, expected in [
        (IceConfig(include_ipv6=False), {"203.0.113.1", "203.0.113.77"}),
        (IceConfig(interfaces=["eth1"]), {"203.0.113.77"}),
        (IceConfig(excluded_interfaces=["eth0"]), {"203.0.113.77"}),
        (IceConfig(excluded_networks=["203.0.113.0/25"]), {"2001:db8::1"}),
        (IceConfig(include_loopback=True, interfaces=["lo"]), {"127.0.0.1", "::1"}),
        (IceConfig(max_local_bases=1), {"203.0.113.1"}),
    ]:
        alone = session(host, Role.CONTROLLING, config)
        await alone.gather()
        assert {candidate.address.host for candidate in alone.local_candidates} == expected
        await alone.close()
    assert behind(world, 9, None).sockets == {}
