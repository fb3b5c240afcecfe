"""Sessions through coturn, relayed candidates only: every transport to the server, and aioice on the other side."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiortc import RTCConfiguration, RTCIceServer
from aiortc.rtcconfiguration import RTCIceTransportPolicy

import ice
from ice.candidate import Candidate, CandidateType
from ice.config import IceConfig, IceTransportPolicy
from ice.errors import NoPathError, RelayLostError
from ice.events import CandidateErrorFound
from tests.ice.groups import PLACES, tie
from tests.ice.groups import talk as talk_in_all
from tests.ice.sessions import trickle
from tests.interop.coturn import PASSWORD, STATIC_USER, USER, Coturn, coturn, needs_coturn
from tests.interop.test_aioice import tell_credentials
from tests.stun.certificates import Authority
from turn.config import TurnServerConfig
from webrtc_bridge import RTCPeerConnection

aioice = pytest.importorskip("aioice", reason="needs the package aioice")

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60), needs_coturn]

PROTOCOLS = ["udp", "tcp", "tls", "dtls"]


def relayed(*servers: TurnServerConfig) -> IceConfig:
    """Only relays; the relayed addresses are loopback ones here."""
    return IceConfig(turn_servers=servers, transport_policy=IceTransportPolicy.RELAY, include_loopback=True)


def a_server(url: str, trust: ssl.SSLContext | None = None, password: str = PASSWORD) -> TurnServerConfig:
    return TurnServerConfig(url=url, username=USER, password=password, ssl_context=trust)


@asynccontextmanager
async def two_sessions(ours: IceConfig, theirs: IceConfig) -> AsyncIterator[tuple[ice.Session, ice.Session]]:
    first, second = ice.Session(ice.Role.CONTROLLING, ours), ice.Session(ice.Role.CONTROLLED, theirs)
    try:
        yield first, second
    finally:
        await asyncio.gather(first.close(), second.close())


async def connect(first: ice.Session, second: ice.Session) -> None:
    trickle(first, second)
    trickle(second, first)
    await asyncio.gather(first.connect(), second.connect())


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_two_streams_of_two_components_through_coturn(tmp_path: Path, transport: str) -> None:
    async with coturn(tmp_path, *STATIC_USER) as server:
        config = relayed(a_server(f"turn:127.0.0.1:{server.port}?transport={transport}"))
        one, other = (ice.SessionGroup(role, config) for role in (ice.Role.CONTROLLING, ice.Role.CONTROLLED))
        for group in (one, other):
            for stream, component in PLACES:
                group.add(stream, component)
        async with one, other:
            tie(one, other)
            tie(other, one)
            await asyncio.gather(one.connect(), other.connect())
            await talk_in_all(one, other)
            await talk_in_all(other, one)
            pairs = [session.selected_pair for session in (*one.sessions, *other.sessions)]
            assert {pair and pair.local.type for pair in pairs} == {CandidateType.RELAYED}
            assert len({pair and pair.local.address for pair in pairs}) == 8, "an allocation for each component"


async def talk(first: ice.Session, second: ice.Session) -> None:
    for number in range(100):
        data = bytes([0x80 + number]) * (1 + number * 12)
        first.send(data)
        assert await second.receive() == data
        second.send(data)
        assert await first.receive() == data


async def no_allocation_left(server: Coturn, released: int) -> None:
    """Wait until coturn has seen ``released`` allocations deleted by their clients."""
    for _ in range(1000):
        if server.said("refreshed, realm=<example.org>, username=<maria>, lifetime=0") >= released:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("an allocation was not given back")


@pytest.mark.matrix("coturn", "two of our sessions, relayed candidates only", over="{ours} and {theirs}")
@pytest.mark.parametrize("theirs", PROTOCOLS)
@pytest.mark.parametrize("ours", PROTOCOLS)
async def test_relay_to_relay(tmp_path: Path, ours: str, theirs: str) -> None:
    authority = Authority.make(tmp_path / "ca")
    trust = authority.context
    async with coturn(tmp_path, *STATIC_USER, certificate=Path(authority.issue("127.0.0.1"))) as server:
        configs = [relayed(a_server(server.url(protocol), trust)) for protocol in (ours, theirs)]
        async with two_sessions(*configs) as (first, second):
            await connect(first, second)
            await talk(first, second)
            for session in (first, second):
                assert [each.type for each in session.local_candidates] == [CandidateType.RELAYED]
                assert session.stats().discarded == 0
                selected = session.selected_pair
                assert selected is not None
                assert selected.local.type is selected.remote.type is CandidateType.RELAYED
                # A check, perhaps one that was ahead of the peer's permission, and the nomination.
                assert selected.requests_sent <= 3
        await no_allocation_left(server, 2)


async def test_many_servers_over_all_transports_and_the_best_is_used(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "ca")
    trust = authority.context
    async with coturn(tmp_path, *STATIC_USER, certificate=Path(authority.issue("127.0.0.1"))) as server:
        config = relayed(*(a_server(server.url(protocol), trust) for protocol in reversed(PROTOCOLS)))
        async with two_sessions(config, config) as (first, second):
            await asyncio.gather(first.gather(), second.gather())
            assert len(first.local_candidates) == 4
            best = max(first.local_candidates, key=lambda candidate: candidate.priority)
            by_transport = {each.server: each.relayed for each in first.stats().agent.relays}
            assert by_transport[f"127.0.0.1:{server.port} (udp)"] == (str(best.address),)
            await connect(first, second)
            await talk(first, second)
            selected = first.selected_pair
            assert selected is not None
            assert selected.local.address == best.address


async def test_what_each_server_lacks_is_told_with_its_name_and_code(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "ca")
    async with coturn(
        tmp_path, *STATIC_USER, "--user-quota=1", certificate=Path(authority.issue("127.0.0.1"))
    ) as server:
        servers = [
            a_server(server.url("udp"), password="wrong"),
            a_server(server.url("tls")),  # Signed by somebody whom the system does not know.
            replace(a_server(server.url("tcp")), families=(6,)),
            a_server("turn:127.0.0.1:9?transport=tcp"),
            a_server("turn:nobody.invalid?transport=udp"),
        ]
        config = relayed(*servers)
        async with two_sessions(config, config) as (first, second):
            problems: dict[str, CandidateErrorFound] = {}
            first.on("candidateerror", lambda problem: problems.update({problem.url: problem}))
            await first.gather()
            await asyncio.sleep(0)
            codes = {url: problem.error_code for url, problem in problems.items()}
            assert codes[servers[0].url] == 401
            assert codes[servers[1].url] == 701
            assert (
                "self-signed" in problems[servers[1].url].error_text
                or "not trust" in problems[servers[1].url].error_text
            )
            assert codes[servers[3].url] == codes[servers[4].url] == 701
            assert "refused" in problems[servers[3].url].error_text
            for url, problem in problems.items():
                assert url in problem.error_text or url.partition("?")[0].removeprefix("turn:") in problem.error_text
            # IPv6 needs a server that has an IPv6 relay; this one has.
            assert [each.address.host for each in first.local_candidates] == ["::1"]
            await second.gather()


async def test_no_relay_says_why_there_is_no_path(tmp_path: Path) -> None:
    async with coturn(tmp_path, *STATIC_USER) as server:
        config = replace(relayed(a_server(server.url("udp"), password="wrong")), pac_timeout=0.2, checking_timeout=0.5)
        async with two_sessions(config, config) as (first, second):
            with pytest.raises(NoPathError, match="401"):
                await connect(first, second)


async def test_a_server_that_dies_under_the_session_is_named(tmp_path: Path) -> None:
    async with coturn(tmp_path, *STATIC_USER) as server:
        config = relayed(a_server(server.url("tcp")))
        async with two_sessions(config, config) as (first, second):
            await connect(first, second)
            server.process.kill()
            with pytest.raises(RelayLostError, match=str(server.port)):
                await first.receive()


async def test_a_direct_path_is_preferred(tmp_path: Path) -> None:
    async with coturn(tmp_path, *STATIC_USER) as server:
        config = IceConfig(turn_servers=(a_server(server.url("udp")),), include_loopback=True, relay_grace=0.1)
        async with two_sessions(config, config) as (first, second):
            await asyncio.gather(first.gather(), second.gather())
            assert CandidateType.RELAYED in {each.type for each in first.local_candidates}
            await connect(first, second)
            selected = first.selected_pair
            assert selected is not None
            assert selected.local.type is CandidateType.HOST
            await no_allocation_left(server, 2)
            await talk(first, second)


@pytest.mark.matrix("aioice", "both relayed by coturn, aioice over {theirs}", over="{ours}")
@pytest.mark.parametrize(("ours", "theirs"), [("udp", "udp"), ("tcp", "tcp"), ("tls", "tcp"), ("dtls", "udp")])
@pytest.mark.parametrize("role", list(ice.Role))
async def test_aioice_with_relays_on_the_other_side(tmp_path: Path, role: ice.Role, ours: str, theirs: str) -> None:
    authority = Authority.make(tmp_path / "ca")
    async with coturn(tmp_path, *STATIC_USER, certificate=Path(authority.issue("127.0.0.1"))) as server:
        session = ice.Session(role, relayed(a_server(server.url(ours), authority.context)))
        connection = aioice.Connection(
            ice_controlling=role.other is ice.Role.CONTROLLING,
            turn_server=("127.0.0.1", server.port),
            turn_transport=theirs,
            turn_username=USER,
            turn_password=PASSWORD,
            transport_policy=aioice.TransportPolicy.RELAY,
        )
        try:
            await asyncio.gather(session.gather(), connection.gather_candidates())
            tell_credentials(session, connection)
            for candidate in session.local_candidates:
                text = candidate.to_sdp().removeprefix("candidate:")
                await connection.add_remote_candidate(aioice.Candidate.from_sdp(text))
            await connection.add_remote_candidate(None)
            for remote in connection.local_candidates:
                session.add_remote_candidate(Candidate.from_sdp(remote.to_sdp()))
            session.add_remote_candidate(None)
            await asyncio.gather(session.connect(), connection.connect())
            for size in (1, 20, 1200):
                session.send(b"\x80" * size)
                assert await connection.recv() == b"\x80" * size
                await connection.send(b"\x20" * size)
                assert await session.receive() == b"\x20" * size
        finally:
            await session.close()
            await connection.close()


async def test_peer_connections_by_relay_alone(tmp_path: Path) -> None:
    """The aiortc-compatible connection: iceServers with TURN, iceTransportPolicy relay."""
    async with coturn(tmp_path, *STATIC_USER) as server:
        servers = [RTCIceServer(urls=[server.url("tcp"), server.url("udp")], username=USER, credential=PASSWORD)]
        policy = RTCIceTransportPolicy.RELAY
        loopback = IceConfig.for_loopback()
        first, second = (
            RTCPeerConnection(RTCConfiguration(iceServers=servers, iceTransportPolicy=policy), ice=loopback)
            for _ in range(2)
        )
        got: asyncio.Queue[str] = asyncio.Queue()
        second.on("datachannel", lambda channel: channel.on("message", got.put_nowait))
        channel = first.createDataChannel("chat")
        channel.on("open", lambda: channel.send("by relay"))
        try:
            await first.setLocalDescription(await first.createOffer())
            assert " typ relay " in first.localDescription.sdp
            assert " typ host" not in first.localDescription.sdp
            await second.setRemoteDescription(first.localDescription)
            await second.setLocalDescription(await second.createAnswer())
            await first.setRemoteDescription(second.localDescription)
            assert await asyncio.wait_for(got.get(), 20) == "by relay"
        finally:
            await asyncio.gather(first.close(), second.close())
