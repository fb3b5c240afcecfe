"""Relayed candidates over TCP: sessions on real sockets through a TCP allocation of our own TURN server (RFC 6062)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from ice.aio import Session
from ice.candidate import CandidateType, TcpType
from ice.roles import Role
from stun.address import TransportProtocol
from tests.ice.sessions import relayed, trickle
from tests.ice.test_aio_tcp import ACTIVE, PASSIVE, NoUdp, config
from tests.ice.turn_place import place
from turn.config import RelayTransport

pytestmark = pytest.mark.timeout(30)


@pytest.mark.parametrize("protocol", [TransportProtocol.TCP, TransportProtocol.TLS])
@pytest.mark.parametrize("kind", [ACTIVE, PASSIVE])
@pytest.mark.parametrize("role", list(Role))
async def test_a_peer_without_udp_is_met_at_a_tcp_allocation(
    tmp_path: Path, protocol: TransportProtocol, kind: TcpType, role: Role
) -> None:
    async with place(tmp_path) as here:
        server = replace(here.server(protocol), transport=RelayTransport.TCP)
        other = Role.CONTROLLED if role is Role.CONTROLLING else Role.CONTROLLING
        a, b = Session(role, relayed(server)), Session(other, config(kind), NoUdp())
        try:
            trickle(a, b)
            trickle(b, a)
            async with asyncio.timeout(10.0):
                await asyncio.gather(a.connect(), b.connect())
            pair = a.selected_pair
            assert pair is not None
            assert pair.local.type is CandidateType.RELAYED
            assert pair.path.protocol is TransportProtocol.TCP
            assert pair.local.tcp_type is (PASSIVE if kind is ACTIVE else ACTIVE)
            for size in (1, 1200, 65_535):
                a.send(b"\x80" * size)
                assert await asyncio.wait_for(b.receive(), 5.0) == b"\x80" * size
                b.send(b"\x20" * size)
                assert await asyncio.wait_for(a.receive(), 5.0) == b"\x20" * size
            told = {candidate.tcp_type for candidate in a.local_candidates}
            assert told == {ACTIVE, PASSIVE}
        finally:
            await asyncio.gather(a.close(), b.close())
