"""Many aioice peers of sessions that share one port."""

from __future__ import annotations

import asyncio

import pytest

from ice.aio import Mux, Session
from ice.candidate import TcpType
from ice.config import IceConfig
from ice.roles import Role
from tests.interop.test_aioice import FAMILIES, aioice, has_ipv6, talk, tell_all

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60)]

PEERS = 20


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("role", list(Role))
async def test_sessions_on_one_port_with_a_peer_each(role: Role, family: int) -> None:
    if family == 6 and not has_ipv6():
        pytest.skip("this machine has no IPv6 address beyond loopback")
    config: IceConfig = FAMILIES[family]
    async with Mux.open() as mux:
        sessions = [Session(role, config, mux) for _ in range(PEERS)]
        connections = [
            aioice.Connection(ice_controlling=role is Role.CONTROLLED, use_ipv4=family == 4, use_ipv6=family == 6)
            for _ in sessions
        ]
        both = list(zip(sessions, connections, strict=True))
        for session, connection in both:
            await tell_all(session, connection)
        await asyncio.gather(*(one.connect() for pair in both for one in pair))
        assert mux.stats().sessions == PEERS
        told = [candidate for session in sessions for candidate in session.local_candidates]
        assert {one.address for one in told if one.tcp_type is not TcpType.ACTIVE} <= set(mux.addresses)
        await asyncio.gather(*(talk(session, connection) for session, connection in both))
        for session in sessions:
            assert session.selected_pair is not None
            assert session.selected_pair.path.local in mux.addresses
            assert session.stats().discarded == 0
        await asyncio.gather(*(one.close() for pair in both for one in pair))
        stats = mux.stats()
        assert stats.sessions == stats.ufrags == stats.addresses == stats.awaited == 0
