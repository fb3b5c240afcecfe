"""STUN servers that lie: the mapped address that they tell is a victim's, which must not become a target."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from ice.config import IceConfig
from ice.errors import NoPathError
from ice.roles import Role
from stun import attributes as att
from stun.address import TransportAddress
from stun.demux import is_stun
from stun.message import Message, MessageClass, Method, parse
from tests.ice.sessions import Pair, pair
from tests.simulation import Host, NatBehaviour, World, virtual_time

VICTIM = "203.0.113.66"
ANSWERING = 5000
LIARS = [f"203.0.113.{number}" for number in range(100, 104)]


@dataclass
class Victim:
    """A host that asked for nothing, and what came to it."""

    host: Host
    heard: list[tuple[float, bytes, int]] = field(default_factory=list)

    def checks_to(self, port: int) -> int:
        return sum(each == port for _, _, each in self.heard)


def victim(world: World, *, answers: bool) -> Victim:
    """Put the victim in the world; where it ``answers``, a STUN server of its own is what is at its port."""
    made = Victim(world.host("victim", world.internet, VICTIM))
    world.observers.append(
        lambda now, packet, fate: (
            made.heard.append((now, packet.data, packet.destination.port))
            if packet.destination.host == VICTIM and fate.name == "SENT"
            else None
        )
    )
    if answers:

        def answer(data: bytes, remote: tuple[str, int]) -> None:
            request = parse(data)
            if isinstance(request, Message) and request.message_class is MessageClass.REQUEST:
                mapped = TransportAddress(*remote)
                socket.send(request.success((att.XOR_MAPPED_ADDRESS, mapped)).serialize(), remote)
            socket.send(b"\x80what do you want", remote)

        socket = made.host.bind(TransportAddress(VICTIM, ANSWERING), answer)
    return made


def liar(world: World, address: str, mapped: TransportAddress) -> None:
    """Put a STUN server in the world that tells everybody the same address."""

    def answer(data: bytes, remote: tuple[str, int]) -> None:
        request = parse(data)
        assert isinstance(request, Message)
        socket.send(request.success((att.XOR_MAPPED_ADDRESS, mapped)).serialize(), remote)

    host = world.host(f"liar {address}", world.internet, address)
    socket = host.bind(TransportAddress(address, 3478), answer)


def most_checks(config: IceConfig) -> int:
    """How often one address may be sent to that never proves to be the peer's, over the whole of a session."""
    upgrade = config.upgrade
    return config.max_sends + upgrade.rechecks * upgrade.check_sends


def only_checks(victim: Victim) -> bool:
    """Whether nothing but Binding requests came there, signed for the peer."""
    for _, data, _ in victim.heard:
        message = parse(data) if is_stun(data) else None
        if not isinstance(message, Message) or message.method is not Method.BINDING:
            return False
        if message.message_class is not MessageClass.REQUEST or message.get(att.USERNAME) is None:
            return False
    return True


async def talk(both: Pair) -> None:
    for number in range(50):
        both.controlling.send(b"\x80%d" % number)
        assert await both.controlled.receive() == b"\x80%d" % number
        both.controlled.send(b"\x80%d" % number)
        assert await both.controlling.receive() == b"\x80%d" % number
        await asyncio.sleep(10)


@pytest.mark.parametrize("answers", [False, True], ids=["silent", "a STUN server itself"])
@virtual_time
async def test_beside_a_real_path_the_victim_gets_a_few_checks_and_no_data(answers: bool) -> None:
    world = World(1)
    target = victim(world, answers=answers)
    liar(world, LIARS[0], TransportAddress(VICTIM, ANSWERING))
    config = IceConfig(stun_servers=LIARS[:1])
    async with pair((None, None), config, world=world) as both:
        await both.connect()
        await talk(both)
        for session in (both.controlling, both.controlled):
            assert VICTIM in {candidate.address.host for candidate in session.remote_candidates}
            selected = session.selected_pair
            assert selected is not None
            assert VICTIM not in (selected.local.address.host, selected.remote.address.host)
    assert only_checks(target)
    # Both sides have been told the same, so each of them checks there.
    assert 0 < target.checks_to(ANSWERING) <= 2 * most_checks(config)


@pytest.mark.parametrize("answers", [False, True], ids=["silent", "a STUN server itself"])
@virtual_time
async def test_without_another_path_there_is_none(answers: bool) -> None:
    world = World(1)
    target = victim(world, answers=answers)
    liar(world, LIARS[0], TransportAddress(VICTIM, ANSWERING))
    config = IceConfig(stun_servers=LIARS[:1])
    homes = (NatBehaviour.symmetric(), NatBehaviour.symmetric())
    async with pair(homes, config, world=world) as both:
        with pytest.raises(NoPathError):
            await both.connect()
        ended = len(target.heard)
        await asyncio.sleep(600)
    assert len(target.heard) == ended
    assert only_checks(target)
    assert 0 < target.checks_to(ANSWERING) <= 2 * config.max_sends


@virtual_time
async def test_many_liars_make_no_more_of_one_address() -> None:
    world = World(1)
    target = victim(world, answers=False)
    for address in LIARS:
        liar(world, address, TransportAddress(VICTIM, ANSWERING))
    config = IceConfig(stun_servers=LIARS)
    homes = (NatBehaviour.symmetric(), NatBehaviour.symmetric())
    async with pair(homes, config, world=world, roles=(Role.CONTROLLED, Role.CONTROLLING)) as both:
        with pytest.raises(NoPathError):
            await both.connect()
    assert only_checks(target)
    assert 0 < target.checks_to(ANSWERING) <= 2 * config.max_sends


@virtual_time
async def test_liars_that_name_many_ports_are_held_by_the_limit_of_candidates() -> None:
    world = World(1)
    target = victim(world, answers=False)
    for number, address in enumerate(LIARS):
        liar(world, address, TransportAddress(VICTIM, 6000 + number))
    config = IceConfig(stun_servers=LIARS, max_remote_candidates=3)
    homes = (NatBehaviour.symmetric(), NatBehaviour.symmetric())
    async with pair(homes, config, world=world) as both:
        with pytest.raises(NoPathError):
            await both.connect()
    ports = {port for _, _, port in target.heard}
    assert len(ports) == config.max_remote_candidates - 1, "one of the three is the host candidate"
    assert all(target.checks_to(port) <= 2 * config.max_sends for port in ports)
