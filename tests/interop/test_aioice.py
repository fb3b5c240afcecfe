"""Our sessions against aioice: both roles, full and trickled candidates, both families, role conflicts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ice.aio import Session
from ice.candidate import Candidate
from ice.config import IceConfig
from ice.description import Description
from ice.errors import IceError
from ice.roles import Role
from stun.aio import UdpNetwork

aioice = pytest.importorskip("aioice", reason="needs the package aioice")

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60)]

FAMILIES = {
    4: IceConfig(include_ipv6=False),
    6: IceConfig(include_ipv4=False),
}


def has_ipv6() -> bool:
    """Whether aioice finds an IPv6 address here: it takes neither loopback nor link-local ones."""
    return any(
        ":" in interface.host and interface.host != "::1" and not interface.host.startswith("fe80")
        for interface in UdpNetwork().interfaces()
    )


@asynccontextmanager
async def pair(
    role: Role, config: IceConfig | None = None, theirs: Role | None = None
) -> AsyncIterator[tuple[Session, aioice.Connection]]:
    """Yield our session in ``role`` and an aioice connection in the other role (or in ``theirs``)."""
    config = config or IceConfig()
    session = Session(role, config)
    connection = aioice.Connection(
        ice_controlling=(theirs or role.other) is Role.CONTROLLING,
        use_ipv4=config.include_ipv4,
        use_ipv6=config.include_ipv6,
    )
    try:
        yield session, connection
    finally:
        await session.close()
        await connection.close()


def tell_credentials(session: Session, connection: aioice.Connection) -> None:
    """Exchange the descriptions."""
    session.set_remote_description(Description(connection.local_username, connection.local_password, options=()))
    connection.remote_username = session.local_description.ufrag
    connection.remote_password = session.local_description.pwd


async def tell_all(session: Session, connection: aioice.Connection) -> None:
    """Gather on both sides and exchange everything at once."""
    await asyncio.gather(session.gather(), connection.gather_candidates())
    tell_credentials(session, connection)
    for candidate in session.local_candidates:
        await connection.add_remote_candidate(aioice.Candidate.from_sdp(candidate.to_sdp().removeprefix("candidate:")))
    await connection.add_remote_candidate(None)
    for candidate in connection.local_candidates:
        session.add_remote_candidate(Candidate.from_sdp(candidate.to_sdp()))
    session.add_remote_candidate(None)


async def talk(session: Session, connection: aioice.Connection) -> None:
    """Pass data of many sizes both ways."""
    for size in (1, 20, 1200, 1400):
        session.send(b"\x80" * size)
        assert await connection.recv() == b"\x80" * size
        await connection.send(b"\x20" * size)
        assert await session.receive() == b"\x20" * size


@pytest.mark.matrix("aioice", "host candidates of IPv{family}, told at once")
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("role", list(Role))
async def test_with_all_candidates_at_once(role: Role, family: int) -> None:
    if family == 6 and not has_ipv6():
        pytest.skip("this machine has no IPv6 address beyond loopback")
    async with pair(role, FAMILIES[family]) as (session, connection):
        await tell_all(session, connection)
        await asyncio.gather(session.connect(), connection.connect())
        await talk(session, connection)
        selected = session.selected_pair
        assert selected is not None
        assert selected.remote.address.family == family
        assert session.role is role


@pytest.mark.matrix("aioice", "host candidates, trickled")
@pytest.mark.parametrize("role", list(Role))
async def test_with_trickled_candidates(role: Role) -> None:
    async with pair(role) as (session, connection):
        tell_credentials(session, connection)
        told: asyncio.Queue[Candidate | None] = asyncio.Queue()
        session.on("candidate", told.put_nowait)

        async def trickle_ours() -> None:
            while (candidate := await told.get()) is not None:
                await asyncio.sleep(0.01)
                await connection.add_remote_candidate(
                    aioice.Candidate.from_sdp(candidate.to_sdp().removeprefix("candidate:"))
                )
            await connection.add_remote_candidate(None)

        async def trickle_theirs() -> None:
            await connection.gather_candidates()
            connecting = asyncio.create_task(connection.connect())
            for candidate in connection.local_candidates:
                await asyncio.sleep(0.01)
                session.add_remote_candidate(Candidate.from_sdp(candidate.to_sdp()))
            session.add_remote_candidate(None)
            await connecting

        await asyncio.gather(session.connect(), trickle_ours(), trickle_theirs())
        await talk(session, connection)


@pytest.mark.matrix("aioice", "candidates of our side only (peer-reflexive)")
@pytest.mark.parametrize("role", list(Role))
async def test_with_candidates_of_one_side_only(role: Role) -> None:
    """The other side is found by its checks: peer-reflexive."""
    async with pair(role) as (session, connection):
        await asyncio.gather(session.gather(), connection.gather_candidates())
        tell_credentials(session, connection)
        for candidate in session.local_candidates:
            await connection.add_remote_candidate(
                aioice.Candidate.from_sdp(candidate.to_sdp().removeprefix("candidate:"))
            )
        await connection.add_remote_candidate(None)
        await asyncio.gather(session.connect(), connection.connect())
        await talk(session, connection)


@pytest.mark.matrix("aioice", "both begin in one role")
@pytest.mark.parametrize("role", list(Role))
async def test_a_role_conflict(role: Role) -> None:
    async with pair(role, theirs=role) as (session, connection):
        await tell_all(session, connection)
        await asyncio.gather(session.connect(), connection.connect())
        assert (session.role is Role.CONTROLLING) is not connection.ice_controlling
        await talk(session, connection)


@pytest.mark.matrix("aioice", "checks before we know its description", role="controlled")
async def test_early_checks_of_aioice_are_answered_before_we_know_its_description() -> None:
    async with pair(Role.CONTROLLED) as (session, connection):
        await asyncio.gather(session.gather(), connection.gather_candidates())
        connection.remote_username = session.local_description.ufrag
        connection.remote_password = session.local_description.pwd
        for candidate in session.local_candidates:
            await connection.add_remote_candidate(
                aioice.Candidate.from_sdp(candidate.to_sdp().removeprefix("candidate:"))
            )
        await connection.add_remote_candidate(None)
        connecting = asyncio.create_task(connection.connect())
        await connecting
        tell_credentials(session, connection)
        await session.connect()
        await talk(session, connection)


async def test_wrong_credentials_do_not_connect() -> None:
    async with pair(Role.CONTROLLING) as (session, connection):
        await asyncio.gather(session.gather(), connection.gather_candidates())
        session.set_remote_description(Description(connection.local_username, "wrong" * 8))
        connection.remote_username, connection.remote_password = session.local_description.ufrag, "wrong" * 8
        for candidate in session.local_candidates:
            await connection.add_remote_candidate(
                aioice.Candidate.from_sdp(candidate.to_sdp().removeprefix("candidate:"))
            )
        for candidate in connection.local_candidates:
            session.add_remote_candidate(Candidate.from_sdp(candidate.to_sdp()))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):  # Giving up takes both sides longer than a test should.
                await connection.connect()
        assert not session.state.is_usable
        assert session.stats().agent.dropped, "what came is counted"
        with pytest.raises(IceError):
            session.send(b"x")


async def test_a_large_exchange_of_datagrams() -> None:
    async with pair(Role.CONTROLLING) as (session, connection):
        await tell_all(session, connection)
        await asyncio.gather(session.connect(), connection.connect())
        for batch in range(20):
            datagrams = [bytes([128 + batch, index]) * 600 for index in range(50)]
            for datagram in datagrams:
                session.send(datagram)
            assert [await connection.recv() for _ in datagrams] == datagrams
            for datagram in datagrams:
                await connection.send(datagram)
            assert [await session.receive() for _ in datagrams] == datagrams
