"""Sessions with TURN servers in the simulated world: by relay where nothing else works, and only there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from ice.aio import Session
from ice.candidate import Candidate, CandidateType, NamedAddress
from ice.config import IceConfig, IceTransportPolicy
from ice.errors import FailureReason, NoPathError, RelayLostError
from ice.events import CandidateErrorFound, ErrorStage, State
from ice.mdns_config import MdnsConfig, MdnsMode
from ice.portmap.config import PortmapConfig
from ice.relay import RelayState
from stun.message import Method, parse
from tests.ice.sessions import STUN, Pair, pair
from tests.simulation import NatBehaviour, SimulatedNetwork, World, direct_path_possible, virtual_time
from tests.simulation.nat import Packet
from tests.simulation.realm import Fate
from tests.simulation.stun_server import stun_server
from tests.simulation.turn_server import PASSWORD, USER, SimulatedTurnServer, turn_server
from turn.config import TurnServerConfig
from turn.service.config import RelayLimits

RELAYS = ("203.0.113.99", "203.0.113.98")
NATS = {
    "open": None,
    "full-cone": NatBehaviour.full_cone(),
    "port-restricted": NatBehaviour.port_restricted_cone(),
    "address-dependent": NatBehaviour.address_dependent(),
    "symmetric": NatBehaviour.symmetric(),
}


def server(address: str = RELAYS[0], password: str = PASSWORD) -> TurnServerConfig:
    return TurnServerConfig(url=f"turn:{address}", username=USER, password=password)


BOTH = IceConfig(stun_servers=[STUN], turn_servers=[server()])
RELAYED = IceConfig(turn_servers=[server()], transport_policy=IceTransportPolicy.RELAY)


def errors_of(session: Session) -> list[CandidateErrorFound]:
    found: list[CandidateErrorFound] = []
    session.on("candidateerror", found.append)
    return found


@asynccontextmanager
async def relayed_pair(config: IceConfig, *nats: NatBehaviour | None, **kwargs: object) -> AsyncIterator[Pair]:
    world = World(1)
    stun_server(world, STUN)
    turn = turn_server(world, RELAYS[0])
    async with pair(nats or (None, None), config, world=world) as both:
        yield both
    assert not turn.machine.allocations, "allocations were left"


async def talk(both: Pair) -> None:
    for _ in range(3):
        both.controlling.send(b"ping")
        assert await both.controlled.receive() == b"ping"
        both.controlled.send(b"pong")
        assert await both.controlling.receive() == b"pong"


@pytest.mark.parametrize("first", NATS)
@pytest.mark.parametrize("second", NATS)
@virtual_time
async def test_by_relay_exactly_where_there_is_no_direct_path(first: str, second: str) -> None:
    nats = (NATS[first], NATS[second])
    async with relayed_pair(BOTH, *nats) as both:
        await both.connect()
        await talk(both)
        pairs = [side.selected_pair for side in (both.controlling, both.controlled)]
        types = {candidate.type for one in pairs if one is not None for candidate in (one.local, one.remote)}
        if direct_path_possible(*nats):
            addresses = {one.remote.address.host for one in pairs if one is not None}
            assert CandidateType.RELAYED not in types
            assert RELAYS[0] not in addresses
        else:
            assert CandidateType.RELAYED in types


class ListeningAir:
    """Multicast DNS that only notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def resolve(self, name: str, timeout: float) -> list[str]:
        self.asked.append(name)
        return []

    async def publish(self, name: str, host: str) -> None:
        self.asked.append(name)

    def withdraw(self, name: str) -> None:
        self.asked.append(name)

    async def close(self) -> None:
        pass


@virtual_time
async def test_relay_only_asks_nobody_for_names_and_maps_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(1)
    turn = turn_server(world, RELAYS[0])
    sent: list[Packet] = []
    world.observers.append(lambda now, packet, fate: sent.append(packet) if fate is Fate.SENT else None)
    air = ListeningAir()
    monkeypatch.setattr(SimulatedNetwork, "multicast_names", lambda self: air, raising=False)
    config = replace(
        RELAYED, mdns=MdnsConfig(mode=MdnsMode.PUBLISH), portmap=PortmapConfig(enabled=True, gateway="198.51.100.254")
    )
    async with pair((None, None), config, world=world) as both:
        name = "3c1b9d6e-3a6f-4a3c-9d0a-0a8f6b1c2d3e.local"
        named = Candidate("1", 1, "udp", 2122194687, NamedAddress(name, 9), CandidateType.HOST)
        both.controlling.add_remote_candidate(named)
        await both.connect()
        await talk(both)
        assert both.controlling.stats().agent.dropped == {"remote candidate: a name instead of an address": 1}
    assert air.asked == []
    own = {address for host in both.hosts for address in host.addresses}
    assert {packet.destination for packet in sent if packet.source.host in own} == {turn.address}


@virtual_time
async def test_relay_only_shows_and_sends_nothing_of_ours() -> None:
    world = World(1)
    stun_server(world, STUN)
    turn = turn_server(world, RELAYS[0])
    sent: list[Packet] = []
    world.observers.append(lambda now, packet, fate: sent.append(packet) if fate is Fate.SENT else None)
    config = IceConfig(stun_servers=[STUN], turn_servers=[server()], transport_policy=IceTransportPolicy.RELAY)
    async with pair((None, NATS["port-restricted"]), config, world=world) as both:
        await both.connect()
        await talk(both)
        own = {address for host in both.hosts for address in host.addresses} | {"198.51.100.2"}
        for side in (both.controlling, both.controlled):
            assert [candidate.type for candidate in side.local_candidates] == [CandidateType.RELAYED]
            for candidate in side.local_candidates:
                assert not any(address in candidate.to_sdp() for address in own)
                assert candidate.related_address == ("0.0.0.0", 9)
    from_us = [packet for packet in sent if packet.source.host in own]
    assert from_us
    assert {packet.destination for packet in from_us} == {turn.address}
    # Nor does it tell by the relay: what is inside of the messages has none of our addresses.
    for packet in from_us:
        if packet.data[0] < 0x40 and parse(packet.data).method is Method.SEND:
            assert not any(address.encode() in packet.data for address in own)


@virtual_time
async def test_the_first_check_is_not_lost_and_no_check_goes_without_permission() -> None:
    world = World(1)
    turn = turn_server(world, RELAYS[0])
    async with pair((None, None), RELAYED, world=world) as both:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await both.connect()
        # 10 ms to the server and back: 401, Allocate, CreatePermission, and the check, whose way is twice as long, and
        # the same for the nomination, whose answer the other side waits for.
        assert loop.time() - began < 0.1
        for side in (both.controlling, both.controlled):
            [checked] = side.stats().agent.pairs
            # The first, the one that the peer's first triggers (by a relay at once), and the nomination.
            assert checked.requests_sent <= 3
            assert side.stats().agent.dropped == {}
        stats = turn.machine.stats
        assert stats.requests["allocate"] == 4
        assert stats.requests["create_permission"] == 2


@virtual_time
async def test_data_goes_over_a_channel_once_the_pair_is_selected() -> None:
    world = World(1)
    turn = turn_server(world, RELAYS[0])
    async with pair((None, None), RELAYED, world=world) as both:
        await both.connect()
        await asyncio.sleep(0.05)
        assert turn.machine.stats.requests["channel_bind"] == 2
        sent: list[Packet] = []
        world.observers.append(lambda now, packet, fate: sent.append(packet) if fate is Fate.SENT else None)
        await talk(both)
        clients = [packet for packet in sent if packet.destination == turn.address]
        assert len(clients) == 6
        assert all(0x40 <= packet.data[0] <= 0x4F for packet in clients)


@virtual_time
async def test_what_does_not_fit_a_datagram_is_a_failed_send() -> None:
    async with relayed_pair(RELAYED) as both:
        await both.connect()
        both.controlling.send(bytes(70_000))
        assert both.controlling.stats().send_failures == 1
        await talk(both)


@virtual_time
async def test_a_direct_pair_gives_the_allocations_back() -> None:
    world = World(1)
    turn = turn_server(world, RELAYS[0])
    config = IceConfig(turn_servers=[server()])
    async with pair((None, None), config, world=world) as near:
        await asyncio.gather(near.controlling.gather(), near.controlled.gather())
        assert len(turn.machine.allocations) == 2
        await near.connect()
        await asyncio.sleep(config.relay_grace - 0.5)
        assert len(turn.machine.allocations) == 2
        await asyncio.sleep(1.0)
        assert not turn.machine.allocations
        assert [relay.state for relay in near.controlling.stats().agent.relays] == [RelayState.RELEASED]
        await talk(near)


@virtual_time
async def test_the_allocation_in_use_is_kept_alive() -> None:
    async with relayed_pair(BOTH, NATS["symmetric"], NATS["symmetric"]) as both:
        await both.connect()
        await asyncio.sleep(2000.0)
        assert both.controlling.state.is_usable
        await talk(both)


@virtual_time
async def test_dead_servers_delay_neither_the_path_nor_a_relay_that_lives() -> None:
    dead = [
        TurnServerConfig(url=url, username="u", password="p") for url in ("turn:203.0.113.7", "turn:nobody.example:1")
    ]
    config = IceConfig(turn_servers=[*dead, server()], transport_policy=IceTransportPolicy.RELAY)
    async with relayed_pair(config) as both:
        problems = errors_of(both.controlling)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await both.connect()
        assert loop.time() - began < 0.1
        assert [problem.error_code for problem in problems] == [701]
        assert "nobody.example" in problems[0].error_text


@virtual_time
async def test_gathering_does_not_wait_long_for_a_server_that_says_nothing() -> None:
    dead = TurnServerConfig(url="turn:203.0.113.7", username="u", password="p")
    config = IceConfig(turn_servers=[dead])
    async with pair((None, None), config) as both:
        problems = errors_of(both.controlling)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await both.controlling.gather()
        assert loop.time() - began == pytest.approx(config.gathering_timeout, abs=0.1)
        await asyncio.sleep(0)
        assert [(problem.error_code, problem.stage) for problem in problems] == [(701, ErrorStage.GATHERING)]
        assert "203.0.113.7" in problems[0].error_text
        assert problems[0].url == "turn:203.0.113.7"


@virtual_time
async def test_a_wrong_password_is_told_with_server_and_code() -> None:
    world = World(1)
    turn_server(world, RELAYS[0])
    config = IceConfig(turn_servers=[server(password="wrong")], transport_policy=IceTransportPolicy.RELAY)
    async with pair((None, None), config, world=world) as both:
        problems = errors_of(both.controlling)
        with pytest.raises(NoPathError, match=f"401.*|{RELAYS[0]}") as caught:
            await both.connect()
        assert "401" in str(caught.value)
        assert RELAYS[0] in str(caught.value)
        assert [problem.error_code for problem in problems] == [401]
        [relay] = both.controlling.stats().agent.relays
        assert (relay.state, relay.error_code) == (RelayState.FAILED, 401)
        assert problems[0].address is None


@virtual_time
async def test_a_used_up_quota_is_told_as_486() -> None:
    world = World(1)
    turn_server(world, RELAYS[0], limits=RelayLimits(allocations_per_user=1))
    config = IceConfig(turn_servers=[server()])
    async with pair((None, None), config, world=world) as both:
        problems = errors_of(both.controlled)
        await both.controlling.gather()
        await both.controlled.gather()
        await asyncio.sleep(0)
        assert [problem.error_code for problem in problems] == [486]
        await both.connect()
        await talk(both)


@virtual_time
async def test_a_peer_that_the_server_does_not_relay_to_is_told_as_403() -> None:
    world = World(1)
    turn_server(world, RELAYS[0])
    config = IceConfig(turn_servers=[server()])
    async with pair((None, NATS["symmetric"]), config, world=world) as both:
        problems = errors_of(both.controlling)
        await both.connect()
        await asyncio.sleep(0.1)
        # The other side's host candidate is a private address.
        assert [(problem.error_code, problem.stage) for problem in problems] == [(403, ErrorStage.PERMISSION)]
        await talk(both)


@virtual_time
async def test_the_loss_of_the_allocation_in_use_ends_the_session_with_the_reason() -> None:
    world = World(1)
    turn: SimulatedTurnServer = turn_server(world, RELAYS[0])
    async with pair((None, None), RELAYED, world=world) as both:
        problems = errors_of(both.controlling)
        await both.connect()
        await talk(both)
        turn.restart()
        with pytest.raises(RelayLostError) as caught:
            await both.controlling.receive()
        assert caught.value.reason is FailureReason.RELAY_LOST
        assert "437" in str(caught.value)
        assert RELAYS[0] in str(caught.value)
        assert both.controlling.state is State.FAILED
        assert [(problem.error_code, problem.stage) for problem in problems] == [(437, ErrorStage.RELAYING)]


@virtual_time
async def test_two_servers_give_two_relayed_candidates_and_one_is_kept() -> None:
    world = World(1)
    turns = [turn_server(world, address) for address in RELAYS]
    config = IceConfig(turn_servers=[server(address) for address in RELAYS], transport_policy=IceTransportPolicy.RELAY)
    async with pair((None, None), config, world=world) as both:
        await both.controlling.gather()
        candidates = both.controlling.local_candidates
        assert {candidate.address.host for candidate in candidates} == set(RELAYS)
        assert len({candidate.foundation for candidate in candidates}) == 2
        assert len({candidate.priority for candidate in candidates}) == 2
        await both.connect()
        await talk(both)
        await asyncio.sleep(4.0)
        assert sum(len(turn.machine.allocations) for turn in turns) == 2


@pytest.mark.parametrize("after", [0.0, 0.004, 0.009, 0.013, 0.018, 0.023, 0.035])
@virtual_time
async def test_a_session_that_ends_while_it_gathers_leaves_nothing(after: float) -> None:
    world = World(1)
    turn = turn_server(world, RELAYS[0])
    async with pair((None, None), RELAYED, world=world) as both:
        gathering = asyncio.ensure_future(both.controlling.gather())
        await asyncio.sleep(after)
        await both.controlling.close()
        await asyncio.gather(gathering, return_exceptions=True)
        await asyncio.sleep(0.1)
        assert not turn.machine.allocations
