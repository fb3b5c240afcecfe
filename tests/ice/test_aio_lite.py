"""Lite sessions on real sockets: our full session on the other side, over UDP and over TCP alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from ice.aio import Session
from ice.candidate import TcpType
from ice.config import IceConfig
from ice.events import State
from ice.lite_config import LiteConfig
from ice.roles import Role
from ice.tcp_config import TcpConfig
from tests.ice.sessions import trickle

FULL = IceConfig.for_loopback()
LITE = replace(FULL, lite=LiteConfig(enabled=True))


async def connect(full: Session, lite: Session) -> None:
    trickle(full, lite)
    trickle(lite, full)
    async with asyncio.timeout(10):
        await asyncio.gather(full.connect(), lite.connect())


async def talk(one: Session, other: Session) -> None:
    for first, second in ((one, other), (other, one)):
        for size in (1, 1200):
            first.send(b"\x80" * size)
            async with asyncio.timeout(5):
                assert await second.receive() == b"\x80" * size


@pytest.mark.parametrize("full_role", list(Role))
async def test_a_full_session_finds_a_lite_one(full_role: Role) -> None:
    full, lite = Session(full_role, FULL), Session(full_role, LITE)
    try:
        await connect(full, lite)
        await talk(full, lite)  # What "selectedpair" told of the first selection is over by now.
        assert (full.role, lite.role) == (Role.CONTROLLING, Role.CONTROLLED)
        assert {each.tcp_type for each in lite.local_candidates} <= {None, TcpType.PASSIVE}
        selected = lite.stats().agent.selected
        assert selected is not None
        assert selected.requests_sent == 0
        assert selected.requests_received >= 1
        description = lite.restart()
        full.on("restart", lite.set_remote_description)
        full.on("candidate", lite.add_remote_candidate)
        lite.on("candidate", full.add_remote_candidate)
        moved = [asyncio.Event(), asyncio.Event()]
        for session, event in zip((full, lite), moved, strict=True):
            session.on("selectedpair", lambda pair, event=event: event.set())
        full.set_remote_description(description)
        async with asyncio.timeout(10):
            await asyncio.gather(*(event.wait() for event in moved))
        await talk(full, lite)
    finally:
        await asyncio.gather(full.close(), lite.close())


async def test_a_full_session_connects_to_a_lite_one_over_tcp() -> None:
    only = TcpConfig(candidates=frozenset(TcpType), head_start=0.0)
    full, lite = Session(Role.CONTROLLING, replace(FULL, tcp=only)), Session(Role.CONTROLLED, replace(LITE, tcp=only))
    try:
        await asyncio.gather(full.gather(), lite.gather())
        full.set_remote_description(lite.local_description)
        lite.set_remote_description(full.local_description)
        for candidate in lite.local_candidates:
            if candidate.tcp_type is not None:
                full.add_remote_candidate(candidate)
        full.add_remote_candidate(None)
        lite.add_remote_candidate(None)
        async with asyncio.timeout(10):
            await asyncio.gather(full.connect(), lite.connect())
        await talk(full, lite)
        assert lite.selected_pair is not None
        assert lite.selected_pair.local.tcp_type is TcpType.PASSIVE
        assert lite.stats().agent.tcp.attempts == 0
    finally:
        await asyncio.gather(full.close(), lite.close())


async def test_two_lite_sessions_that_trust_their_signalling() -> None:
    config = replace(FULL, lite=LiteConfig(enabled=True, unchecked_peers=True))
    one, other = Session(Role.CONTROLLING, config), Session(Role.CONTROLLED, config)
    try:
        await connect(one, other)
        await talk(one, other)
        assert one.state is State.COMPLETED
        assert one.selected_pair is not None
        assert other.selected_pair is not None
        assert one.selected_pair.path.local == other.selected_pair.path.remote
    finally:
        await asyncio.gather(one.close(), other.close())
