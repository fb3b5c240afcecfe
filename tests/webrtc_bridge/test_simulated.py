"""Peers through simulated NATs and cut cables, in virtual time: ICE, DTLS, SCTP and streams in one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from ice import IceConfig, Role, State
from ice.candidate import CandidateType
from signalling.errors import StreamReset
from tests.ice.sessions import STUN, behind, session
from tests.simulation import Host, LinkProfile, NatBehaviour, World, virtual_time
from tests.simulation.stun_server import stun_server
from webrtc_bridge.config import PeerConfig
from webrtc_bridge.datachannel_streams import DataChannelMuxer
from webrtc_bridge.peer import ConnectionState, DataPeer
from webrtc_bridge.sdp import SdpType

ASKING = PeerConfig(ice=IceConfig(stun_servers=[STUN]))
HOME = NatBehaviour.port_restricted_cone()


class Trip(NamedTuple):
    """Two hosts, their peers and the streams on them."""

    hosts: tuple[Host, Host]
    a: DataChannelMuxer
    b: DataChannelMuxer


@asynccontextmanager
async def trip(*nats: NatBehaviour | None, link: LinkProfile | None = None) -> AsyncIterator[Trip]:
    world = World(1)
    stun_server(world, STUN)
    links = {"link": link} if link is not None else {}
    hosts = (behind(world, 1, nats[0], **links), behind(world, 2, nats[1], **links))
    sessions = [session(host, role, ASKING.ice) for host, role in zip(hosts, Role, strict=True)]
    offerer, answerer = (DataPeer(side, ASKING, session=below) for side, below in zip(SdpType, sessions, strict=True))
    both = Trip(hosts, DataChannelMuxer(offerer), DataChannelMuxer(answerer))
    offerer.on("icecandidate", answerer.add_ice_candidate)
    answerer.on("icecandidate", offerer.add_ice_candidate)
    answerer.set_remote_description(offerer.create_offer())
    offerer.set_remote_description(answerer.create_answer())
    offerer.start_gathering()
    answerer.start_gathering()
    try:
        await asyncio.gather(offerer.wait_connected(), answerer.wait_connected())
        yield both
    finally:
        await asyncio.gather(both.a.close(), both.b.close())


async def talk(both: Trip, count: int) -> bytes:
    """Send ``count`` bytes from a to b."""
    here = await both.a.open_stream()
    there = await both.b.accept_stream()
    sending = asyncio.create_task(send(here, bytes(count)))
    got = bytearray()
    while data := await there.read():
        got += data
    await sending
    await there.close()
    return bytes(got)


async def send(stream: object, data: bytes) -> None:
    await stream.write(data)  # type: ignore[attr-defined]
    await stream.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("one", "other"),
    [(None, None), (HOME, HOME), (HOME, NatBehaviour.full_cone()), (NatBehaviour.symmetric(), None)],
    ids=["open", "two homes", "home and full cone", "symmetric and open"],
)
@virtual_time
async def test_streams_through_nats(one: NatBehaviour | None, other: NatBehaviour | None) -> None:
    async with trip(one, other) as both:
        assert await talk(both, 50_000) == bytes(50_000)
        selected = both.a.peer.session.selected_pair
        assert selected is not None
        if one is HOME and other is HOME:
            assert selected.remote.type is not CandidateType.HOST


@virtual_time
async def test_a_narrow_line_with_a_short_queue_carries_everything() -> None:
    async with trip(HOME, HOME, link=LinkProfile(latency=0.02, bandwidth=2_000_000, queue=32_000)) as both:
        start = asyncio.get_running_loop().time()
        assert await talk(both, 500_000) == bytes(500_000)
        assert asyncio.get_running_loop().time() - start < 60


@virtual_time
async def test_a_cut_cable_is_noticed_by_both_within_thirty_seconds() -> None:
    async with trip(HOME, HOME) as both:
        loop = asyncio.get_running_loop()
        here = await both.a.open_stream()
        await here.write(b"x")
        there = await both.b.accept_stream()
        assert await there.read() == b"x"
        states: list[str] = []
        both.a.peer.on("connectionstatechange", lambda: states.append(both.a.peer.connection_state))
        both.hosts[1].vanish()
        start = loop.time()
        with pytest.raises(StreamReset, match="consent expired"):
            await here.read()
        await asyncio.gather(both.a.wait_closed(), both.b.wait_closed())
        assert loop.time() - start <= 36  # consent was last renewed up to 6 s before the cut, and 30 s is its life
        assert states == [ConnectionState.DISCONNECTED, ConnectionState.FAILED]


@virtual_time
async def test_a_cable_that_comes_back_in_time_hurts_nothing() -> None:
    async with trip(HOME, HOME) as both:
        states: list[str] = []
        both.a.peer.on("connectionstatechange", lambda: states.append(both.a.peer.connection_state))
        both.hosts[1].vanish()
        writing = asyncio.create_task(talk(both, 10_000))
        await asyncio.sleep(18)
        assert both.a.peer.session.state is State.DISCONNECTED
        both.hosts[1].reappear()
        assert await writing == bytes(10_000)
        await asyncio.sleep(10)
        assert states == [ConnectionState.DISCONNECTED, ConnectionState.CONNECTED]
