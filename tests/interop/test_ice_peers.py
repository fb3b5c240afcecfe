"""Our sessions against werift and libnice, each in a process of its own: both roles, with and without servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ice
import stun.aio
from ice.candidate import Candidate, CandidateType, TcpType
from ice.config import IceConfig, IceTransportPolicy
from ice.description import Description
from ice.errors import IceError
from ice.roles import Role
from ice.tcp_config import TcpConfig
from stun.address import TransportProtocol
from stun.network import Network
from tests.interop.coturn import PASSWORD, STATIC_USER, USER, Coturn, coturn, needs_coturn
from tests.interop.ice_peer import (
    IcePeer,
    gather_then_meet,
    libnice_peer,
    restart_and_meet,
    talk,
    trickle_and_meet,
    werift_peer,
)
from tests.interop.nat_cells import NoUdp
from tests.stun.certificates import Authority
from turn.config import TurnServerConfig

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60)]

LOOPBACK = IceConfig(include_loopback=True, interfaces=["lo"], include_ipv6=False)
MEETINGS = {"told at once": gather_then_meet, "trickled": trickle_and_meet}
RELAYS = {
    "werift": {"udp": "udp", "tcp": "tcp", "tls": "tls", "dtls": "udp"},
    "libnice": {"udp": "udp", "tcp": "tcp", "tls": "tcp", "dtls": "udp"},
}
"""What the peer speaks to the TURN server for each of ours: neither has DTLS, and libnice no TLS but Google's."""


@pytest.fixture(params=["werift", "libnice"])
def peer_name(request: pytest.FixtureRequest) -> str:
    """The other implementation; the test is skipped where it is not installed."""
    name: str = request.param
    if name == "werift":
        request.getfixturevalue("node_modules")
    else:
        request.getfixturevalue("libnice_python")
    return name


@pytest.fixture
async def stun_server() -> AsyncIterator[stun.aio.StunServer]:
    async with await stun.aio.serve(["127.0.0.1"], 0) as server:
        yield server


class Stage:
    """Makes pairs of our session and that peer on loopback; the peer asks our STUN server alone."""

    def __init__(self, name: str, node: Path | None, server: stun.aio.StunServer) -> None:
        self.name = name
        self._node = node
        [self.stun] = server.udp

    @asynccontextmanager
    async def pair(
        self,
        role: Role,
        config: IceConfig = LOOPBACK,
        theirs: Role | None = None,
        network: Network | None = None,
        **options: Any,
    ) -> AsyncIterator[tuple[ice.Session, IcePeer]]:
        """Yield our session in ``role`` and the peer in the other one (or in ``theirs``)."""
        options = {"hosts": ["127.0.0.1"], "only": True, "stun": list(self.stun), **options}
        if self._node is not None:
            peer = werift_peer(self._node, theirs or role.other, **options)
        else:
            peer = libnice_peer(theirs or role.other, **options)
        session = ice.Session(role, config, network)
        async with peer as made:
            try:
                yield session, made
            finally:
                await session.close()


@pytest.fixture
def stage(request: pytest.FixtureRequest, peer_name: str, stun_server: stun.aio.StunServer) -> Stage:
    node = request.getfixturevalue("node") if peer_name == "werift" else None
    return Stage(peer_name, node, stun_server)


async def agree(session: ice.Session, peer: IcePeer) -> None:
    """Both have selected the same pair."""
    selected = session.selected_pair
    assert selected is not None
    local, remote = await peer.selected()
    assert (selected.local.address, selected.remote.address) == (remote.address, local.address)


@pytest.mark.matrix("{peer_name}", "host candidates, {meeting}")
@pytest.mark.parametrize("meeting", MEETINGS)
@pytest.mark.parametrize("role", list(Role))
async def test_host_candidates(stage: Stage, role: Role, meeting: str) -> None:
    async with stage.pair(role) as (session, peer):
        await MEETINGS[meeting](session, peer)
        await talk(session, peer)
        assert session.role is role
        assert await peer.role() is role.other
        await agree(session, peer)
        # On loopback werift's reflexive candidate is its host candidate once more.
        assert set(session.stats().agent.dropped) <= {"remote candidate: known already"}


@pytest.mark.matrix("{peer_name}", "reflexive candidates")
@pytest.mark.parametrize("role", list(Role))
async def test_reflexive_candidates_of_our_stun_server(stage: Stage, role: Role) -> None:
    """The peer's host candidates are kept from us; on loopback its reflexive ones lead to the same place."""

    def only(candidate: Candidate) -> bool:
        return candidate.type is CandidateType.SERVER_REFLEXIVE or candidate in session.local_candidates

    async with stage.pair(role) as (session, peer):
        await gather_then_meet(session, peer, only)
        await talk(session, peer)


@pytest.mark.matrix("{peer_name}", "candidates of our side only (peer-reflexive)")
@pytest.mark.parametrize("role", list(Role))
async def test_candidates_of_our_side_only(stage: Stage, role: Role) -> None:
    """The peer is found by its checks: peer-reflexive."""
    async with stage.pair(role) as (session, peer):
        await gather_then_meet(session, peer, lambda candidate: candidate in session.local_candidates)
        await talk(session, peer)
        selected = session.selected_pair
        assert selected is not None
        assert selected.remote.type is CandidateType.PEER_REFLEXIVE


@pytest.mark.matrix("{peer_name}", "both begin in one role")
@pytest.mark.parametrize("role", list(Role))
async def test_a_role_conflict(stage: Stage, role: Role) -> None:
    async with stage.pair(role, theirs=role) as (session, peer):
        await gather_then_meet(session, peer)
        await talk(session, peer)
        await agree(session, peer)
        if stage.name != "libnice":  # That tells the role it was given, not the one it has.
            assert await peer.role() is session.role.other


@pytest.mark.matrix("{peer_name}", "restart that {first}")
@pytest.mark.parametrize("first", ["we begin", "it begins"])
@pytest.mark.parametrize("role", list(Role))
async def test_a_restart(stage: Stage, role: Role, first: str) -> None:
    async with stage.pair(role) as (session, peer):
        await gather_then_meet(session, peer)
        before = session.local_description
        for _ in range(2):
            await restart_and_meet(session, peer, ours_first=first == "we begin")
            await talk(session, peer)
        assert session.local_description.ufrag != before.ufrag
        await agree(session, peer)


@pytest.mark.matrix("{peer_name}", "checks before we know its description", role="controlled")
async def test_early_checks_are_answered_before_we_know_its_description(stage: Stage) -> None:
    async with stage.pair(Role.CONTROLLED) as (session, peer):
        await asyncio.gather(session.gather(), peer.gather())
        await peer.remote(session.local_description)
        for candidate in session.local_candidates:
            await peer.tell(candidate)
        await peer.tell(None)
        await peer.connect()
        session.set_remote_description(peer.description)
        await session.connect()
        await talk(session, peer)


# -- TCP

CALLERS = {"we call": TcpType.ACTIVE, "it calls": TcpType.PASSIVE}


def over_tcp(kind: TcpType) -> IceConfig:
    """Only TCP candidates of one kind, with a network that has no UDP."""
    return replace(LOOPBACK, tcp=TcpConfig(candidates=frozenset({kind})))


def is_tcp(candidate: Candidate) -> bool:
    return candidate.transport == "tcp"


@pytest.mark.matrix("{peer_name}", "host candidates, {caller}, {meeting}", over="TCP")
@pytest.mark.parametrize("meeting", MEETINGS)
@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("role", list(Role))
async def test_tcp(stage: Stage, role: Role, caller: str, meeting: str) -> None:
    async with stage.pair(role, over_tcp(CALLERS[caller]), network=NoUdp(), tcp=True) as (session, peer):
        # With nothing of its own to check, werift gives up at the end of our candidates instead of waiting for our call
        # (RFC 8863 asks for patience).
        peer.hears_the_end = (stage.name, caller) != ("werift", "we call")
        await MEETINGS[meeting](session, peer, is_tcp)
        await talk(session, peer, 1, 1200, 8000)
        selected = session.selected_pair
        assert selected is not None
        assert selected.path.protocol is TransportProtocol.TCP
        local, _ = await peer.selected()
        assert local.transport == "tcp"


@pytest.mark.matrix("{peer_name}", "restart that {first}", over="TCP")
@pytest.mark.parametrize("first", ["we begin", "it begins"])
@pytest.mark.parametrize("role", list(Role))
async def test_a_restart_over_tcp(stage: Stage, role: Role, first: str) -> None:
    config = replace(LOOPBACK, tcp=TcpConfig(candidates=frozenset({TcpType.ACTIVE, TcpType.PASSIVE})))
    async with stage.pair(role, config, network=NoUdp(), tcp=True) as (session, peer):
        await gather_then_meet(session, peer, is_tcp)
        await talk(session, peer)
        await restart_and_meet(session, peer, ours_first=first == "we begin", only=is_tcp)
        await talk(session, peer)
        selected = session.selected_pair
        assert selected is not None
        assert selected.path.protocol is TransportProtocol.TCP


async def test_wrong_credentials_do_not_connect(stage: Stage) -> None:
    config = replace(LOOPBACK, pac_timeout=0.5, checking_timeout=1.0)
    async with stage.pair(Role.CONTROLLING, config) as (session, peer):
        peer.description = Description(peer.description.ufrag, "wrong" * 8)
        with pytest.raises(IceError):
            await gather_then_meet(session, peer)
        assert session.stats().agent.dropped, "what came is counted"


# -- relays


def relayed(server: Coturn, protocol: str, authority: Authority) -> IceConfig:
    """Only relays; the relayed addresses are loopback ones here."""
    url = server.url(protocol)
    turn = TurnServerConfig(url=url, username=USER, password=PASSWORD, ssl_context=authority.context)
    return IceConfig(turn_servers=[turn], transport_policy=IceTransportPolicy.RELAY, include_loopback=True)


@pytest.mark.matrix("{peer_name}", "both relayed by coturn", over="{protocol}")
@needs_coturn
@pytest.mark.parametrize("protocol", RELAYS["werift"])
@pytest.mark.parametrize("role", list(Role))
async def test_relay_to_relay(stage: Stage, tmp_path: Path, role: Role, protocol: str) -> None:
    theirs = RELAYS[stage.name][protocol]
    authority = Authority.make(tmp_path / "ca")
    async with coturn(tmp_path, *STATIC_USER, certificate=Path(authority.issue("127.0.0.1"))) as server:
        turn = {
            "host": "127.0.0.1",
            "port": server.tls_port if theirs == "tls" else server.port,
            "username": USER,
            "password": PASSWORD,
            "transport": theirs,
            "ca": (tmp_path / "ca" / "ca.pem").read_text(),
        }
        async with stage.pair(role, relayed(server, protocol, authority), turn=turn, relayOnly=True) as (session, peer):
            await gather_then_meet(session, peer)
            await talk(session, peer)
            assert {each.type for each in peer.candidates} == {CandidateType.RELAYED}
            await agree(session, peer)
