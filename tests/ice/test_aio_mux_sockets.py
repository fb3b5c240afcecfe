"""Many sessions on one real UDP port."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
from dataclasses import replace

import pytest

from ice.aio import Mux, Session
from ice.candidate import TcpType
from ice.config import IceConfig
from ice.errors import IceError
from ice.roles import Role
from ice.tcp_config import TcpConfig
from stun.address import TransportProtocol
from stun.aio import UdpNetwork
from stun.message import Message, MessageClass, Method
from stun.network import Network
from tests.ice.builders import request
from tests.ice.sessions import trickle

pytestmark = pytest.mark.timeout(60)

HOST = "127.0.0.1"
CONFIG = IceConfig(include_loopback=True, interfaces=["lo"], include_ipv6=False)


async def pair(
    near: Network, far: Network | None = None, role: Role = Role.CONTROLLED, config: IceConfig = CONFIG
) -> tuple[Session, Session]:
    """Connect a session on ``near`` with one on ``far`` or on a socket of its own, which has the other role."""
    both = Session(role, CONFIG, near), Session(role.other, config, far)
    trickle(both[0], both[1])
    trickle(both[1], both[0])
    await asyncio.gather(*(session.connect() for session in both))
    return both


async def talk(both: tuple[Session, Session], number: int, count: int) -> None:
    for index in range(count):
        words = [b"\x80%d %d %d" % (side, number, index) for side in (0, 1)]
        for session, word in zip(both, words, strict=True):
            session.send(word)
        for session, word in zip(both, reversed(words), strict=True):
            assert await session.receive() == word
    for session in both:
        assert session.receive_nowait() is None


async def close(pairs: list[tuple[Session, Session]]) -> None:
    await asyncio.gather(*(session.close() for both in pairs for session in both))


async def test_two_hundred_sessions_on_one_port() -> None:
    async with Mux.open(hosts=[HOST]) as mux:
        pairs = await asyncio.gather(*(pair(mux, role=list(Role)[number % 2]) for number in range(200)))
        assert {both[0].local_candidates[0].address for both in pairs} == {mux.addresses[0]}
        assert (mux.stats().sessions, mux.stats().addresses) == (200, 200)
        await asyncio.gather(*(talk(both, number, 50) for number, both in enumerate(pairs)))
        assert not mux.stats().dropped
        await close(pairs[:100])
        assert (mux.stats().sessions, mux.stats().addresses) == (100, 100)
        await asyncio.gather(*(talk(both, number, 5) for number, both in enumerate(pairs[100:])))
        await close(pairs[100:])
        stats = mux.stats()
        assert stats.sessions == stats.ufrags == stats.addresses == stats.awaited == 0


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
async def test_sessions_open_no_file_of_their_own() -> None:
    async with Mux.open(hosts=[HOST]) as mux, Mux.open(hosts=[HOST]) as other:
        before = len(os.listdir("/proc/self/fd"))
        both = await pair(mux, other)
        await talk(both, 0, 100)  # More than what earns a peer a socket of its own elsewhere.
        assert len(os.listdir("/proc/self/fd")) == before
        await close([both])


async def test_two_muxes_in_one_process() -> None:
    async with Mux.open(hosts=[HOST]) as first, Mux.open(hosts=[HOST]) as second:
        assert first.port != second.port
        pairs = [
            await pair(first, second),
            *[await pair(mux) for mux in (first, second) for _ in range(5)],
        ]
        await asyncio.gather(*(talk(both, number, 20) for number, both in enumerate(pairs)))
        assert first.stats().sessions == second.stats().sessions == 6
        await close(pairs)
        assert first.stats().addresses == second.stats().addresses == 0


@pytest.mark.parametrize("role", list(Role))
async def test_sessions_on_one_tcp_port(role: Role) -> None:
    opens = replace(CONFIG, tcp=TcpConfig(candidates=frozenset({TcpType.ACTIVE})))
    async with Mux.open(hosts=[HOST], transports=[TransportProtocol.TCP]) as mux:
        pairs = await asyncio.gather(*(pair(mux, role=role, config=opens) for _ in range(50)))
        for near, _ in pairs:
            assert near.selected_pair is not None
            assert near.selected_pair.path.local == mux.addresses[0]
            assert near.selected_pair.path.protocol is TransportProtocol.TCP
            [passive] = [one for one in near.local_candidates if one.tcp_type is TcpType.PASSIVE]
            assert passive.address == mux.addresses[0]
        await asyncio.gather(*(talk(both, number, 20) for number, both in enumerate(pairs)))
        assert (mux.stats().sessions, mux.stats().strangers) == (50, 0)
        await close(pairs[:25])
        await asyncio.gather(*(talk(both, number, 5) for number, both in enumerate(pairs[25:])))
        await close(pairs[25:])
        assert mux.stats().sessions == mux.stats().ufrags == 0


async def test_a_shared_port_of_each_kind_and_nothing_else() -> None:
    config = replace(CONFIG, stun_servers=[f"{HOST}:9"], gathering_timeout=0.3)
    async with Mux.open(hosts=[HOST]) as mux:
        session = Session(Role.CONTROLLED, config, mux)
        await session.gather()
        found = {(one.protocol, one.tcp_type, one.address.port) for one in session.local_candidates}
        assert found == {
            (TransportProtocol.UDP, None, mux.port),
            (TransportProtocol.TCP, TcpType.PASSIVE, mux.port),
            (TransportProtocol.TCP, TcpType.ACTIVE, 9),
        }
        await session.close()


async def test_a_flood_of_strangers_harms_no_session_and_leaves_nothing_behind() -> None:
    rng = random.Random(5)
    async with Mux.open(hosts=[HOST]) as mux:
        both = await pair(mux)
        ufrag = both[0].local_description.ufrag
        kinds = [
            b"\x80" * 1200,
            rng.randbytes(1200),
            b"",
            request(f"{ufrag}:peer", "wrong password wrong password"),
            request("nobody:peer", "wrong password wrong password"),
            request(f"{ufrag}:peer", None),
            Message(Method.BINDING, MessageClass.REQUEST, bytes(12)).serialize(),
            Message(Method.BINDING, MessageClass.SUCCESS, bytes(12)).serialize(),
            Message(Method.ALLOCATE, MessageClass.REQUEST, bytes(12)).serialize(),
            Message(Method.BINDING, MessageClass.REQUEST, bytes(12)).serialize()[:-1] + b"\xff" + bytes(600),
        ]
        for number in range(60):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                for _ in range(5):
                    for data in kinds:
                        stranger.sendto(data, mux.addresses[0])
                await talk(both, number, 1)
        await talk(both, 99, 20)
        assert both[0].state.is_usable
        stats = mux.stats()
        assert (stats.sessions, stats.addresses, stats.awaited, stats.sources) == (1, 1, 0, 1)
        assert sum(stats.dropped.values()) > 1500
        assert stats.dropped["check: too many from there failed"] > 0
        assert both[0].stats().discarded == 0, "none of it came as far as the session"
        await close([both])


async def test_a_session_without_its_mux_says_so_in_the_end() -> None:
    async with Mux.open(hosts=[HOST]) as mux:
        both = await pair(mux)
    both[0].send(b"\x80nowhere")
    assert both[0].stats().send_failures == 1
    late = Session(Role.CONTROLLED, CONFIG, mux)
    with pytest.raises(IceError, match="closed"):
        await late.gather()
    await late.close()
    await close([both])


async def test_both_families_of_this_machine() -> None:
    if not any(interface.host == "::1" for interface in UdpNetwork().interfaces()):
        pytest.skip("this machine has no IPv6")
    async with Mux.open(hosts=["127.0.0.1", "::1"]) as mux:
        assert len({address.port for address in mux.addresses}) == 1
        for family in (4, 6):
            config = IceConfig(
                include_loopback=True, interfaces=["lo"], include_ipv4=family == 4, include_ipv6=family == 6
            )
            near, far = Session(Role.CONTROLLING, None, mux), Session(Role.CONTROLLED, config)
            trickle(near, far)
            trickle(far, near)
            await asyncio.gather(near.connect(), far.connect())
            await talk((near, far), family, 40)
            assert near.selected_pair is not None
            assert near.selected_pair.path.local in mux.addresses
            await close([(near, far)])
