"""A group of two components with an aioice connection of two components, in both roles."""

from __future__ import annotations

import asyncio

import pytest

from ice import Candidate, Description, IceConfig, Role, SessionGroup, State

aioice = pytest.importorskip("aioice", reason="needs the package aioice")

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60)]

STREAM = "audio"


@pytest.mark.matrix("aioice", "two components")
@pytest.mark.parametrize("conflict", [False, True], ids=["roles", "conflict"])
@pytest.mark.parametrize("role", list(Role))
async def test_two_components(role: Role, conflict: bool) -> None:
    theirs = role if conflict else role.other
    connection = aioice.Connection(ice_controlling=theirs is Role.CONTROLLING, components=2, use_ipv6=False)
    async with SessionGroup(role, IceConfig(include_ipv6=False)) as group:
        sessions = [group.add(STREAM, component) for component in (1, 2)]
        try:
            await asyncio.gather(group.gather(), connection.gather_candidates())
            description = group.local_descriptions[STREAM]
            connection.remote_username, connection.remote_password = description.ufrag, description.pwd
            for candidate in group.local_candidates(STREAM):
                if candidate.transport == "udp":
                    text = candidate.to_sdp().removeprefix("candidate:")
                    await connection.add_remote_candidate(aioice.Candidate.from_sdp(text))
            await connection.add_remote_candidate(None)
            group.set_remote_description(
                STREAM, Description(connection.local_username, connection.local_password, options=())
            )
            for candidate in connection.local_candidates:
                group.add_remote_candidate(STREAM, Candidate.from_sdp(candidate.to_sdp()))
            group.add_remote_candidate(STREAM, None)
            await asyncio.gather(group.connect(), connection.connect())
            assert group.state is State.COMPLETED
            assert (group.role is Role.CONTROLLING) is not connection.ice_controlling
            for component, session in enumerate(sessions, start=1):
                data = bytes([0x80, component]) * 100
                session.send(data)
                assert await connection.recvfrom() == (data, component)
                await connection.sendto(data, component)
                assert await session.receive() == data
                assert session.selected_pair is not None
                assert session.selected_pair.remote.component == component
        finally:
            await connection.close()
