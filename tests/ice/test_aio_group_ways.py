"""Groups of sessions on every way there is: through our own TURN server, over TCP, and with names for addresses."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ice.aio import Session, SessionGroup
from ice.candidate import CandidateType
from ice.config import IceConfig
from ice.errors import FailureReason
from ice.events import State
from ice.mdns_config import MdnsConfig, MdnsMode
from ice.roles import Role
from stun.address import TransportProtocol
from tests.ice.groups import group, meet, talk
from tests.ice.sessions import WIRE, relayed
from tests.ice.test_aio_mdns import Air, Loopback, NamingSimulation
from tests.ice.test_aio_tcp import ACTIVE, PASSIVE, NoUdp, config
from tests.ice.turn_place import place
from tests.simulation import World, virtual_time

pytestmark = pytest.mark.timeout(60)

OVER_TCP = config(ACTIVE, PASSIVE)


def locals_of(one: SessionGroup) -> list[tuple[CandidateType, str]]:
    """What each component is selected on."""
    pairs = [session.selected_pair for session in one.sessions]
    return [(pair.local.type, pair.local.transport) for pair in pairs if pair is not None]


# -- relays --


@pytest.mark.parametrize("protocol", list(TransportProtocol))
async def test_every_component_has_an_allocation_of_its_own(tmp_path: Path, protocol: TransportProtocol) -> None:
    async with place(tmp_path) as here:
        settings = relayed(here.server(protocol))
        async with group(Role.CONTROLLING, settings) as one, group(Role.CONTROLLED, settings) as other:
            await meet(one, other)
            for each in (one, other):
                assert locals_of(each) == [(CandidateType.RELAYED, "udp")] * 4
                addresses = {session.local_candidates[0].address for session in each.sessions}
                assert len(addresses) == 4
                assert [candidate.component for candidate in each.local_candidates("audio")] == [1, 2]
            foundations = {candidate.foundation for candidate in one.local_candidates("video")}
            assert len(foundations) == 1, "one server, one foundation (RFC 8445 section 5.1.1.3)"
            assert here.service.snapshot().allocations == 8
        assert here.service.snapshot().allocations == 0


async def test_a_restart_over_relays_keeps_the_allocations(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        settings = relayed(here.server(TransportProtocol.UDP))
        async with group(Role.CONTROLLING, settings) as one, group(Role.CONTROLLED, settings) as other:
            await meet(one, other)
            before = [session.local_candidates[0].address for session in one.sessions]
            selected: asyncio.Queue[object] = asyncio.Queue()
            for session in (*one.sessions, *other.sessions):
                session.on("selectedpair", selected.put_nowait)
            one.restart()
            async with asyncio.timeout(20):
                for _ in range(8):
                    await selected.get()
            assert [session.local_candidates[0].address for session in one.sessions] == before
            assert here.service.snapshot().allocations == 8
            await talk(one, other)


async def test_a_component_that_loses_its_relay_ends_the_group_with_that_reason(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        settings = relayed(here.server(TransportProtocol.TCP))
        async with group(Role.CONTROLLING, settings) as one, group(Role.CONTROLLED, settings) as other:
            await meet(one, other)
            ended: asyncio.Future[object] = asyncio.get_running_loop().create_future()
            one.session("audio", 1).on("closed", ended.set_result)
            await here.service.close()
            assert await asyncio.wait_for(ended, 10.0) is FailureReason.RELAY_LOST
            assert one.state is State.FAILED
            assert one.failure_reason is FailureReason.RELAY_LOST


# -- TCP --


async def test_every_component_has_a_connection_of_its_own() -> None:
    async with group(Role.CONTROLLING, OVER_TCP, NoUdp()) as one, group(Role.CONTROLLED, OVER_TCP, NoUdp()) as other:
        await meet(one, other)
        for each in (one, other):
            assert {transport for _, transport in locals_of(each)} == {"tcp"}
            assert len(locals_of(each)) == 4
        selected: asyncio.Queue[object] = asyncio.Queue()
        for session in (*one.sessions, *other.sessions):
            session.on("selectedpair", selected.put_nowait)
        one.restart()
        async with asyncio.timeout(20):
            for _ in range(8):
                await selected.get()
        await talk(one, other)
        await talk(other, one)


async def test_a_big_datagram_passes_in_every_component_at_a_time_over_tcp() -> None:
    async with group(Role.CONTROLLING, OVER_TCP, NoUdp()) as one, group(Role.CONTROLLED, OVER_TCP, NoUdp()) as other:
        await meet(one, other)

        async def pass_one(ours: Session, theirs: Session, byte: bytes) -> None:
            for _ in range(20):
                ours.send(byte * 20_000)
                assert await asyncio.wait_for(theirs.receive(), 5.0) == byte * 20_000

        bytes_ = (b"\x80", b"\x81", b"\x82", b"\x83")
        pairs = zip(one.sessions, other.sessions, bytes_, strict=True)
        await asyncio.gather(*(pass_one(*each) for each in pairs))


# -- names --


@virtual_time
async def test_names_hide_every_component_and_go_with_the_group() -> None:
    air, world = Air(), World(1)
    lan = world.realm("lan")
    settings = IceConfig(mdns=MdnsConfig(mode=MdnsMode.PUBLISH))
    networks = [
        NamingSimulation(world.host(f"h{index}", lan, f"192.168.7.{index}", link=WIRE), air) for index in (1, 2)
    ]
    one, other = (group(role, settings, network) for role, network in zip(Role, networks, strict=True))
    async with one, other:
        await meet(one, other)
        for each in (one, other):
            shown = repr([session.stats() for session in each.sessions]) + repr(each.local_candidates("audio"))
            assert "192.168" not in shown
            assert [candidate.component for candidate in each.local_candidates("video")] == [1, 2]
        assert set(air.names.values()) == {"192.168.7.1", "192.168.7.2"}
    assert air.names == {}


async def test_one_responder_of_the_real_network_has_the_names_of_all_components() -> None:
    names = MdnsConfig(mode=MdnsMode.PUBLISH, hidden_networks=("127.0.0.0/8",))
    settings = IceConfig(include_loopback=True, include_ipv6=False, interfaces=("lo",), mdns=names)
    one, other = (group(role, settings, Loopback()) for role in Role)
    async with one, other:
        await meet(one, other)
        for each in (one, other):
            told = each.local_candidates("audio") + each.local_candidates("video")
            assert {candidate.component for candidate in told} == {1, 2}
            assert all(".local" in candidate.to_sdp() for candidate in told)
