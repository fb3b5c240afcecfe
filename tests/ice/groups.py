"""What the tests of groups share: four components in two streams, tied by a signalling that takes no time."""

from __future__ import annotations

import asyncio
import random

from ice.aio import SessionGroup
from ice.candidate import Candidate
from ice.config import IceConfig
from ice.roles import Role
from stun.network import Network
from tests.ice.sessions import behind
from tests.simulation import World

PLACES = [("audio", 1), ("audio", 2), ("video", 1), ("video", 2)]


def tie(source: SessionGroup, sink: SessionGroup) -> list[tuple[str, Candidate | None]]:
    """Tell ``sink`` all that ``source`` knows and will know; returns what was trickled."""
    told: list[tuple[str, Candidate | None]] = []

    def found(stream: str, candidate: Candidate | None) -> None:
        told.append((stream, candidate))
        sink.add_remote_candidate(stream, candidate)

    for stream, description in source.local_descriptions.items():
        sink.set_remote_description(stream, description)
    source.on("candidate", found)
    source.on("restart", sink.set_remote_description)
    return told


def group(role: Role, config: IceConfig | None = None, network: Network | None = None) -> SessionGroup:
    """Return one side, with all its components."""
    made = SessionGroup(role, config, network, random.Random(role.value))
    for stream, component in PLACES:
        made.add(stream, component)
    return made


def groups(world: World | None = None, config: IceConfig | None = None) -> tuple[SessionGroup, SessionGroup]:
    """Return both sides, on hosts of ``world`` or on this machine."""
    hosts = [None if world is None else behind(world, index, None).network() for index in (1, 2)]
    one, other = (group(role, config, network) for role, network in zip(Role, hosts, strict=True))
    return one, other


async def talk(one: SessionGroup, other: SessionGroup) -> None:
    """Pass a word from one to the other in every component."""
    for stream, component in PLACES:
        word = f"{stream} {component}".encode()
        one.session(stream, component).send(word)
        async with asyncio.timeout(5):
            assert await other.session(stream, component).receive() == word


async def meet(one: SessionGroup, other: SessionGroup) -> None:
    """Connect, and pass a word both ways in every component."""
    tie(one, other)
    tie(other, one)
    async with asyncio.timeout(20):
        await asyncio.gather(one.connect(), other.connect())
    await talk(one, other)
    await talk(other, one)
