"""Sessions whose TURN servers take access tokens (RFC 7635), on real sockets with our own server."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from ice.aio import Session
from ice.candidate import CandidateType
from ice.events import CandidateErrorFound, ErrorStage
from ice.roles import Role
from stun.address import TransportProtocol
from tests.ice.sessions import relayed, trickle
from tests.turn.aio.service.running import config_for, running
from tests.turn.aio.test_tokens import TOKENS, Issuer, sealed
from turn.aio.service import TurnService
from turn.config import AccessToken, RelayTransport, TokenProvider, TurnServerConfig

pytestmark = pytest.mark.timeout(30)


def with_tokens(
    service: TurnService, tokens: TokenProvider | AccessToken, protocol: TransportProtocol = TransportProtocol.UDP
) -> TurnServerConfig:
    return config_for(service, protocol, username=None, password=None, access_tokens=tokens)


async def connected(one: Session, other: Session) -> None:
    trickle(one, other)
    trickle(other, one)
    async with asyncio.timeout(10):
        await asyncio.gather(one.connect(), other.connect())
        for ours, theirs in ((one, other), (other, one)):
            ours.send(b"hello")
            assert await theirs.receive() == b"hello"
            assert ours.selected_pair is not None
            assert ours.selected_pair.local.type is CandidateType.RELAYED


@pytest.mark.parametrize("protocol", [TransportProtocol.UDP, TransportProtocol.TCP])
async def test_two_sessions_meet_at_relays_that_tokens_open(protocol: TransportProtocol) -> None:
    issuer = Issuer(600)
    async with running(tokens=TOKENS) as service:
        one = Session(Role.CONTROLLING, relayed(with_tokens(service, issuer, protocol)))
        other = Session(Role.CONTROLLED, relayed(with_tokens(service, sealed(time.time()), protocol)))
        try:
            await connected(one, other)
            assert issuer.given == 1
        finally:
            await asyncio.gather(one.close(), other.close())


async def test_a_token_that_runs_out_is_followed_by_another_under_the_session() -> None:
    issuer = Issuer(2)
    async with running(tokens=TOKENS) as service:
        config = relayed(with_tokens(service, issuer))
        one, other = Session(Role.CONTROLLING, config), Session(Role.CONTROLLED, config)
        try:
            await connected(one, other)
            before = issuer.given
            async with asyncio.timeout(10):
                await issuer.has_given(before + 2)
            await connected(one, other)
        finally:
            await asyncio.gather(one.close(), other.close())


async def test_a_restart_after_the_relays_were_given_back_asks_for_new_tokens() -> None:
    issuer = Issuer(600)
    async with running(tokens=TOKENS) as service:
        relays = (with_tokens(service, issuer), with_tokens(service, issuer, TransportProtocol.TCP))
        config = replace(relayed(*relays), relay_grace=0.0)
        one, other = Session(Role.CONTROLLING, config), Session(Role.CONTROLLED, config)
        try:
            await connected(one, other)
            assert issuer.given == 4
            one.on("restart", other.set_remote_description)
            other.on("restart", one.set_remote_description)
            one.restart()
            async with asyncio.timeout(10):
                await issuer.has_given(5)
            await connected(one, other)
        finally:
            await asyncio.gather(one.close(), other.close())


async def test_why_there_is_no_relay_is_told() -> None:
    async def refuses(server_name: str) -> AccessToken:
        raise LookupError(f"{server_name} is not ours")

    async with running(tokens=TOKENS) as service, running() as plain:
        for server, text in (
            (with_tokens(service, refuses), "relay.example.org is not ours"),
            (with_tokens(service, sealed(time.time() - 1000.0)), "401"),
            (with_tokens(service, AccessToken("k" * 600, b"token", bytes(20))), "cannot be sent"),
            (with_tokens(plain, sealed(time.time())), "takes no access tokens"),
        ):
            alone = Session(Role.CONTROLLING, relayed(server))
            told: list[CandidateErrorFound] = []
            alone.on("candidateerror", told.append)
            await alone.gather()
            await asyncio.sleep(0)
            assert [(error.stage, error.url) for error in told] == [(ErrorStage.GATHERING, server.url)]
            assert text in told[0].error_text
            assert alone.local_candidates == []
            await alone.close()


async def test_a_tcp_allocation_takes_a_token_as_well() -> None:
    async with running(tokens=TOKENS) as service:
        server = replace(with_tokens(service, Issuer(600), TransportProtocol.TCP), transport=RelayTransport.TCP)
        alone = Session(Role.CONTROLLING, relayed(server))
        await alone.gather()
        assert {candidate.transport for candidate in alone.local_candidates} == {"tcp"}
        await alone.close()
