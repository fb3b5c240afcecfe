"""Our client against our server, where coturn of today has nothing to test against: SHA-256, moves over streams, and
credentials that a strict server stops taking under a live allocation."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time

import pytest

import turn
from stun.address import TransportAddress, TransportProtocol
from tests.turn.aio.service.running import SECRET, config_for, running, udp_echo
from turn.config import ChannelPolicy, Credentials, TurnClientConfig

pytestmark = pytest.mark.timeout(30)

EAGER = TurnClientConfig(permission_margin=299.8, permission_window=0.0, channels=ChannelPolicy.ON_DEMAND)
"""Refreshes its permissions five times a second."""


async def echoed(allocation: turn.TurnAllocation, peer: TransportAddress, data: bytes) -> None:
    allocation.send(data, peer)
    assert await asyncio.wait_for(allocation.receive(), 2.0) == (data, peer)


@pytest.mark.parametrize("sha256", [False, True])
@pytest.mark.parametrize("protocol", [TransportProtocol.UDP, TransportProtocol.TCP])
async def test_both_hashes(protocol: TransportProtocol, sha256: bool) -> None:
    async with (
        running(sha256=sha256) as service,
        udp_echo() as peer,
        turn.allocate(config_for(service, protocol)) as allocation,
    ):
        await echoed(allocation, peer, b"x")
        assert allocation.uses_sha256 is sha256


@pytest.mark.parametrize("protocol", [TransportProtocol.UDP, TransportProtocol.TCP])
async def test_moving(protocol: TransportProtocol) -> None:
    async with (
        running(mobility=True) as service,
        udp_echo() as peer,
        turn.allocate(config_for(service, protocol, mobility=True)) as allocation,
    ):
        await allocation.bind_channel(peer)
        relayed = allocation.relayed
        for number in range(3):
            before = allocation.path
            assert await allocation.move() != before
            await echoed(allocation, peer, b"%d" % number)
            assert allocation.relayed == relayed
        assert service.snapshot().allocations == 1


async def test_credentials_that_end_under_a_live_allocation() -> None:
    handed_out = 0

    async def provider() -> Credentials:
        nonlocal handed_out
        handed_out += 1
        username = f"{int(time.time()) + 1}:maria"
        digest = hmac.digest(SECRET.encode(), username.encode(), hashlib.sha1)
        return Credentials(username, base64.b64encode(digest).decode(), 1.0)

    async with running() as service, udp_echo() as peer:
        config = config_for(service, username=None, password=None, credentials=provider, client=EAGER)
        async with turn.allocate(config) as allocation:
            await echoed(allocation, peer, b"before")
            await asyncio.sleep(3.2)
            assert allocation.error is None
            await echoed(allocation, peer, b"after")
            assert handed_out >= 4
