"""Many sessions on one UDP port, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import ice
from ice.aio import Mux, Session
from ice.aio.shared_network import NetworkSeat, SharedNetwork
from ice.candidate import CandidateType
from ice.config import IceConfig
from ice.errors import MuxError
from ice.mux_config import MuxConfig
from ice.mux_stats import Drop
from ice.roles import Role
from stun.address import TransportAddress
from stun.network import ConnectableSocket
from tests.ice.sessions import STUN, WIRE, behind, trickle
from tests.simulation import Host, NatBehaviour, World, virtual_time
from tests.simulation.stun_server import stun_server

PORT = 3478


@asynccontextmanager
async def mux_on(host: Host, config: MuxConfig | None = None, *hosts: str) -> AsyncIterator[Mux]:
    """A mux on a simulated host, which has to be empty and closed in the end."""
    async with Mux.open(PORT, hosts or None, network=host.network(), config=config) as mux:
        yield mux
        stats = mux.stats()
        assert stats.sessions == stats.ufrags == stats.addresses == stats.awaited == 0, stats
    assert not host.sockets


class Call:
    """A session at the mux, and its peer on a host of its own."""

    def __init__(self, mux: Mux, peer: Host, config: IceConfig | None = None, role: Role = Role.CONTROLLED) -> None:
        self.near = Session(role, config, mux, random.Random(f"near {peer.name}"))
        self.far = Session(role.other, None, peer.network(), random.Random(f"far {peer.name}"))

    async def connect(self) -> None:
        trickle(self.near, self.far)
        trickle(self.far, self.near)
        await asyncio.gather(self.near.connect(), self.far.connect())

    async def talk(self, word: bytes, count: int = 1) -> None:
        """Send both ways; what the other side receives has to be just that."""
        for number in range(count):
            self.near.send(b"to %b %d" % (word, number))
            self.far.send(b"from %b %d" % (word, number))
        for number in range(count):
            assert await self.far.receive() == b"to %b %d" % (word, number)
            assert await self.near.receive() == b"from %b %d" % (word, number)

    async def close(self) -> None:
        await asyncio.gather(self.near.close(), self.far.close())


@virtual_time
@pytest.mark.parametrize("role", list(Role))
async def test_sessions_behind_all_sorts_of_nats_share_a_port(role: Role) -> None:
    world = World()
    server = world.host("server", world.internet, "198.51.100.200", link=WIRE)
    kinds = [None, NatBehaviour.full_cone(), NatBehaviour.port_restricted_cone(), NatBehaviour.symmetric()]
    async with mux_on(server) as mux:
        calls = [Call(mux, behind(world, index, kinds[index % 4]), role=role) for index in range(1, 33)]
        await asyncio.gather(*(call.connect() for call in calls))
        assert list(server.sockets) == [TransportAddress("198.51.100.200", PORT)]
        assert mux.stats().sessions == 32
        await asyncio.gather(*(call.talk(b"%d" % index, 40) for index, call in enumerate(calls)))
        await asyncio.sleep(120)
        assert all(call.near.state.is_usable and call.far.state.is_usable for call in calls), "consent goes on"
        await asyncio.gather(*(call.talk(b"later %d" % index) for index, call in enumerate(calls)))
        assert not mux.stats().dropped
        for gone, call in enumerate(calls, start=1):
            await call.close()
            assert mux.stats().sessions == len(calls) - gone


@virtual_time
async def test_sessions_at_the_mux_connect_as_fast_as_others() -> None:
    world = World()
    server = world.host("server", world.internet, "198.51.100.200", link=WIRE)
    async with mux_on(server) as mux:
        call = Call(mux, behind(world, 1, None))
        before = asyncio.get_running_loop().time()
        await call.connect()
        assert asyncio.get_running_loop().time() - before < 0.03, "one round trip to check and nominate"
        assert server.sent + server.received == 4
        await call.close()


@virtual_time
async def test_every_session_learns_its_reflexive_candidate_over_the_shared_port() -> None:
    world = World()
    stun_server(world, STUN)
    home = behind(world, 1, NatBehaviour.port_restricted_cone())
    config = IceConfig(stun_servers=[STUN])
    async with mux_on(home) as mux:
        sessions = [Session(Role.CONTROLLED, config, mux) for _ in range(20)]
        await asyncio.gather(*(session.gather() for session in sessions))
        found = [
            [candidate for candidate in session.local_candidates if candidate.type is CandidateType.SERVER_REFLEXIVE]
            for session in sessions
        ]
        assert all(len(candidates) == 1 for candidates in found)
        assert len({candidates[0].address for candidates in found}) == 1, "one socket, one mapping"
        assert mux.stats().addresses == 0, "the server is nobody's peer"
        await asyncio.gather(*(session.close() for session in sessions))


@virtual_time
async def test_through_a_nat_that_lets_no_stranger_in_by_the_reflexive_candidate() -> None:
    world = World()
    stun_server(world, STUN)
    home = behind(world, 1, NatBehaviour.port_restricted_cone())
    async with mux_on(home) as mux:
        peers = [behind(world, index, None) for index in range(2, 6)]
        calls = [Call(mux, peer, IceConfig(stun_servers=[STUN])) for peer in peers]
        await asyncio.gather(*(call.connect() for call in calls))
        await asyncio.gather(*(call.talk(b"%d" % index) for index, call in enumerate(calls)))
        assert len(home.sockets) == 1
        await asyncio.gather(*(call.close() for call in calls))


@virtual_time
async def test_one_socket_for_each_family() -> None:
    world = World()
    server = world.host("server", world.internet, "198.51.100.200", "2001:db8::200", link=WIRE)
    async with mux_on(server) as mux:
        assert [str(address) for address in mux.addresses] == ["198.51.100.200:3478", "[2001:db8::200]:3478"]
        assert mux.port == PORT
        calls = [
            Call(mux, world.host(f"peer{number}", world.internet, address, link=WIRE))
            for number, address in enumerate(["198.51.100.1", "2001:db8::1"])
        ]
        await asyncio.gather(*(call.connect() for call in calls))
        await asyncio.gather(*(call.talk(b"%d" % number) for number, call in enumerate(calls)))
        for call, family in zip(calls, (4, 6), strict=True):
            assert call.near.selected_pair is not None
            assert call.near.selected_pair.path.local.family == family
            await call.close()


@virtual_time
async def test_data_of_a_peer_whose_nat_gives_it_another_address_still_arrives() -> None:
    world = World()
    server = world.host("server", world.internet, "198.51.100.200", link=WIRE)
    router = world.nat(NatBehaviour.symmetric(), "198.51.100.1")
    peer = world.host("peer", router.inside, "192.168.1.2", link=WIRE)
    async with mux_on(server) as mux:
        call, other = Call(mux, peer), Call(mux, behind(world, 2, None))
        await call.connect()
        await other.connect()
        await call.talk(b"before")
        router.reboot()
        call.far.send(b"from an address that nobody knows yet")
        await asyncio.sleep(8)  # One consent check of the peer comes from there meanwhile.
        call.far.send(b"from an address that is known")
        assert await call.near.receive() == b"from an address that is known"
        assert mux.stats().dropped == {Drop.DATA.value: 1}
        assert mux.stats().addresses == 3
        await other.talk(b"undisturbed")
        await call.close()
        await other.close()


@virtual_time
@pytest.mark.parametrize("by_us", [True, False])
async def test_a_restart_by_either_side_is_followed(by_us: bool) -> None:
    world = World()
    server = world.host("server", world.internet, "198.51.100.200", link=WIRE)
    async with mux_on(server) as mux:
        ends = ice.exchange_pair()
        peer = behind(world, 1, NatBehaviour.port_restricted_cone())

        async def side(exchange: ice.Exchange, role: Role, network: object, restarts: bool) -> None:
            async with ice.connect(exchange, role=role, network=network) as path:  # type: ignore[arg-type]
                first = path.session.local_description.ufrag
                for _ in range(6):
                    if restarts:
                        path.restart()
                    await asyncio.sleep(2)
                    await path.send(role.encode())
                    assert await path.receive() == role.other.encode()
                assert path.session.local_description.ufrag != first
                assert 2 <= mux.stats().ufrags <= ice.IceConfig().max_generations
                assert mux.stats().sessions == 1
                assert not mux.stats().dropped
                await asyncio.sleep(1)

        await asyncio.gather(
            side(ends[0], Role.CONTROLLED, mux, by_us), side(ends[1], Role.CONTROLLING, peer.network(), not by_us)
        )


@virtual_time
async def test_a_session_that_fails_frees_its_place() -> None:
    world = World()
    server = world.host("server", world.internet, "198.51.100.200", link=WIRE)
    peer = behind(world, 1, None)
    async with mux_on(server) as mux:
        call = Call(mux, peer)
        await call.connect()
        peer.vanish()
        await asyncio.sleep(60)
        assert call.near.state.is_over
        assert mux.stats().sessions == mux.stats().addresses == 0
        await call.close()


@virtual_time
async def test_a_full_mux_refuses_the_session_and_takes_the_next_when_there_is_room() -> None:
    world = World()
    server = world.host("server", world.internet, "198.51.100.200", link=WIRE)
    async with mux_on(server, MuxConfig(max_sessions=1)) as mux:
        first, second = (Session(Role.CONTROLLED, None, mux) for _ in range(2))
        await first.gather()
        with pytest.raises(MuxError):
            await second.gather()
        await first.close()
        await second.gather()
        await second.close()


@virtual_time
async def test_colliding_fragments_are_refused() -> None:
    world = World()
    server = world.host("server", world.internet, "198.51.100.200", link=WIRE)
    async with mux_on(server) as mux:
        first, twin = (Session(Role.CONTROLLED, None, mux, random.Random(7)) for _ in range(2))
        await first.gather()
        with pytest.raises(MuxError):
            await twin.gather()
        await twin.close()
        await first.close()


@virtual_time
async def test_connect_takes_a_mux_too() -> None:
    world = World()
    server = world.host("server", world.internet, "198.51.100.200", link=WIRE)
    peers = [behind(world, index, None) for index in (1, 2)]

    async def side(exchange: ice.Exchange, role: Role, network: object) -> None:
        async with ice.connect(exchange, role=role, network=network) as path:  # type: ignore[arg-type]
            await path.send(role.encode())
            assert await path.receive() == role.other.encode()
            await asyncio.sleep(1)

    async with mux_on(server) as mux:
        ends = [ice.exchange_pair() for _ in peers]
        await asyncio.gather(
            *(side(end[0], Role.CONTROLLED, mux) for end in ends),
            *(side(end[1], Role.CONTROLLING, peer.network()) for end, peer in zip(ends, peers, strict=True)),
        )


@virtual_time
async def test_two_muxes_in_one_process_and_a_session_on_each() -> None:
    world = World()
    hosts = [world.host(f"server{n}", world.internet, f"198.51.100.20{n}", link=WIRE) for n in range(2)]
    async with mux_on(hosts[0]) as first, mux_on(hosts[1]) as second:
        near, far = Session(Role.CONTROLLING, None, first), Session(Role.CONTROLLED, None, second)
        trickle(near, far)
        trickle(far, near)
        await asyncio.gather(near.connect(), far.connect())
        near.send(b"hello")
        assert await far.receive() == b"hello"
        await asyncio.gather(near.close(), far.close())


@virtual_time
async def test_the_hook_of_restarts_and_what_is_not_shared() -> None:
    world = World()
    server = world.host("server", world.internet, "198.51.100.200", link=WIRE)
    async with mux_on(server) as mux:
        assert isinstance(mux, SharedNetwork)
        own = await mux.bind(TransportAddress("198.51.100.200", 0), lambda data, remote: None)
        assert own.local.port != PORT
        assert await mux.resolve("192.0.2.9", 1) == [TransportAddress("192.0.2.9", 1)]
        seat: NetworkSeat = mux.join("abcdefgh")
        shared = await seat.bind(TransportAddress("198.51.100.200", 0), lambda data, remote: None)
        assert isinstance(shared, ConnectableSocket)
        assert shared.local == mux.addresses[0]
        for wanted in ("198.51.100.200", "198.51.100.201"):  # It has a base there already; there is no such address.
            with pytest.raises(OSError, match=r"base|shared"):
                await seat.bind(TransportAddress(wanted, 0), lambda data, remote: None)
        seat.set_ufrags(["ijklmnop"])
        mux.join("abcdefgh").leave()
        seat.leave()
        assert not shared.send(b"x", ("198.51.100.9", 1))
        assert shared.connect(("198.51.100.9", 1)) is None
        shared.close()
        own.close()


@virtual_time
async def test_opening_fails_whole() -> None:
    world = World()
    server = world.host("server", world.internet, "198.51.100.200", "198.51.100.201")
    network = server.network()
    taken = server.bind(TransportAddress("198.51.100.201", PORT), lambda data, remote: None)
    for hosts in (None, ["192.0.2.1"], []):
        with pytest.raises(OSError, match=r"taken|not an address|no address"):
            async with Mux.open(PORT, hosts, network=network):
                pytest.fail("not all addresses were free")
    assert list(server.sockets.values()) == [taken]
    async with Mux.open(network=network) as mux:
        assert len({address.port for address in mux.addresses}) == 1
        assert len(mux.addresses) == 2
    with pytest.raises(MuxError):
        mux.join("late")
    taken.close()
