"""Sessions on real sockets through our own TURN server, over every transport to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ice.aio import Session
from ice.config import IceConfig
from ice.errors import RelayLostError
from ice.events import CandidateErrorFound, ErrorStage
from ice.roles import Role
from stun.address import TransportProtocol
from tests.ice.sessions import relayed, trickle
from tests.ice.turn_place import ALL, PASSWORD, USER, place
from turn.config import Credentials, TurnServerConfig

pytestmark = pytest.mark.timeout(30)


@asynccontextmanager
async def sessions(first: IceConfig, second: IceConfig) -> AsyncIterator[tuple[Session, Session]]:
    both = Session(Role.CONTROLLING, first), Session(Role.CONTROLLED, second)
    try:
        yield both
    finally:
        await asyncio.gather(*(session.close() for session in both))


async def connect(first: Session, second: Session) -> None:
    trickle(first, second)
    trickle(second, first)
    await asyncio.gather(first.connect(), second.connect())


@pytest.mark.parametrize("protocol", ALL)
async def test_both_ways_over(tmp_path: Path, protocol: TransportProtocol) -> None:
    async with place(tmp_path) as here:
        config = relayed(here.server(protocol))
        async with sessions(config, config) as (first, second):
            await connect(first, second)
            for size in (1, 3, 1200, 9000):
                first.send(b"\x80" * size)
                assert await second.receive() == b"\x80" * size
                second.send(b"\x20" * size)
                assert await first.receive() == b"\x20" * size
            assert first.stats().agent.relays[0].server.endswith(f"({protocol})")
            assert first.stats().discarded == second.stats().discarded == 0


@pytest.mark.parametrize("protocol", [TransportProtocol.TLS, TransportProtocol.DTLS])
async def test_a_certificate_that_nobody_vouches_for(tmp_path: Path, protocol: TransportProtocol) -> None:
    async with place(tmp_path) as here:
        config = relayed(TurnServerConfig(url=here.url(protocol), username=USER, password=PASSWORD))
        async with sessions(config, config) as (first, _):
            problems: list[CandidateErrorFound] = []
            first.on("candidateerror", problems.append)
            await first.gather()
            await asyncio.sleep(0)
            [problem] = problems
            assert (problem.error_code, problem.stage) == (701, ErrorStage.GATHERING)
            assert "certificate" in problem.error_text
            assert here.url(protocol) in problem.error_text
            assert first.local_candidates == []


@pytest.mark.parametrize("protocol", [TransportProtocol.TCP, TransportProtocol.TLS])
async def test_a_server_that_ends_a_stream_is_missed_at_once(tmp_path: Path, protocol: TransportProtocol) -> None:
    async with place(tmp_path) as here:
        config = relayed(here.server(protocol))
        async with sessions(config, config) as (first, second):
            await connect(first, second)
            await here.service.close()
            with pytest.raises(RelayLostError, match=r"127\.0\.0\.1"):
                await first.receive()


async def test_fetched_credentials(tmp_path: Path) -> None:
    asked = 0

    async def fetch() -> Credentials:
        nonlocal asked
        asked += 1
        return Credentials(USER, PASSWORD)

    async def refuse() -> Credentials:
        raise OSError("the web service is down")

    async with place(tmp_path) as here:
        url = here.url(TransportProtocol.UDP)
        config = relayed(*(TurnServerConfig(url=url, credentials=provider) for provider in (fetch, refuse)))
        async with sessions(config, config) as (first, second):
            problems: list[CandidateErrorFound] = []
            first.on("candidateerror", problems.append)
            await connect(first, second)
            assert asked == 2
            await asyncio.sleep(0)
            assert [problem.error_code for problem in problems] == [701]
            assert "web service" in problems[0].error_text


async def test_a_provider_of_credentials_with_a_bug_is_told_and_breaks_nothing(tmp_path: Path) -> None:
    async def broken() -> Credentials:
        raise AssertionError("a bug")

    async with place(tmp_path) as here:
        wrong = TurnServerConfig(url=here.url(TransportProtocol.TCP), credentials=broken)
        config = relayed(wrong, here.server(TransportProtocol.UDP))
        async with sessions(config, config) as (first, second):
            problems: list[CandidateErrorFound] = []
            first.on("candidateerror", problems.append)
            await connect(first, second)
            await asyncio.gather(first.gather(), second.gather())
            await asyncio.sleep(0)
            assert [problem.error_code for problem in problems] == [701]
            assert "a bug" in problems[0].error_text


async def test_a_session_that_is_closed_while_it_connects_to_the_server(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        for protocol in ALL:
            for turns in (0, 1, 3, 10):
                session = Session(Role.CONTROLLING, relayed(here.server(protocol)))
                gathering = asyncio.ensure_future(session.gather())
                for _ in range(turns):
                    await asyncio.sleep(0.001)
                await session.close()
                await asyncio.gather(gathering, return_exceptions=True)
        for _ in range(100):
            if here.service.snapshot().allocations == 0:
                break
            await asyncio.sleep(0.05)
