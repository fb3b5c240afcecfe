"""Whatever two NATs and a bad network do: sessions connect exactly where the oracle says that punching works."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from ice.config import IceConfig
from ice.errors import NoPathError
from tests.ice.sessions import STUN, pair
from tests.simulation import (
    Filtering,
    Hairpin,
    LinkProfile,
    Mapping,
    NatBehaviour,
    Pooling,
    PortAllocation,
    Refresh,
    World,
    direct_path_possible,
    run_virtual,
)
from tests.simulation.stun_server import stun_server

nats = st.none() | st.builds(
    NatBehaviour,
    mapping=st.sampled_from(Mapping),
    filtering=st.sampled_from(Filtering),
    allocation=st.sampled_from([PortAllocation.RANDOM, PortAllocation.SEQUENTIAL]),
    pooling=st.just(Pooling.PAIRED),
    hairpin=st.sampled_from(Hairpin),
    refresh=st.sampled_from([Refresh.OUTBOUND, Refresh.BOTH]),
    lifetime=st.sampled_from([30.0, 120.0, 300.0]),
    udp_blocked=st.sampled_from([False] * 7 + [True]),
)
links = st.builds(
    LinkProfile,
    latency=st.floats(0.0, 0.15),
    jitter=st.floats(0.0, 0.03),
    loss=st.sampled_from([0.0, 0.02, 0.05]),
    duplication=st.sampled_from([0.0, 0.05]),
    reordering=st.sampled_from([0.0, 0.1]),
)


@settings(max_examples=60)
@given(st.tuples(nats, nats), links, st.integers(0, 10_000), st.floats(0.0, 3.0))
def test_sessions_connect_where_the_oracle_says_so(
    both_nats: tuple[NatBehaviour | None, NatBehaviour | None], link: LinkProfile, seed: int, head_start: float
) -> None:
    async def main() -> bool:
        world = World(seed)
        stun_server(world, STUN)
        async with pair(both_nats, IceConfig(stun_servers=[STUN]), link=link, seed=seed, world=world) as both:
            early = asyncio.create_task(both.controlling.gather())
            await asyncio.sleep(head_start)
            try:
                await both.connect()
            except NoPathError:
                return False
            finally:
                await asyncio.gather(early, return_exceptions=True)
            for session, peer in ((both.controlling, both.controlled), (both.controlled, both.controlling)):
                heard = asyncio.create_task(peer.receive())
                while not heard.done():
                    session.send(b"data")
                    await asyncio.sleep(0.1)
                assert heard.result() == b"data"
        return True

    assert run_virtual(main()) is direct_path_possible(*both_nats)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.lists(st.binary(min_size=1, max_size=200), max_size=30))
def test_data_arrives_as_it_was_sent_and_only_from_the_peer(seed: int, datagrams: list[bytes]) -> None:
    async def main() -> None:
        async with pair(seed=seed) as both:
            await both.connect()
            stranger = both.world.host("stranger", both.world.internet, "203.0.113.66")
            mouth = await stranger.network().bind(
                next(iter(both.hosts[1].sockets))._replace(host="203.0.113.66", port=0), lambda *_: None
            )
            for data in datagrams:
                mouth.send(data, next(iter(both.hosts[1].sockets)))
                both.controlling.send(data)
            await asyncio.sleep(1)
            received = []
            while (data := both.controlled.receive_nowait()) is not None:
                received.append(data)
            assert received == datagrams
            mouth.close()

    run_virtual(main())
