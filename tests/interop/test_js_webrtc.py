"""``/webrtc`` with js-libp2p on Node: ours dials js and js dials ours, through our relay and through its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ice import IceConfig
from signalling.libp2p.aio.connection import Connection, Direction
from signalling.libp2p.aio.host import Host
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from tests.interop import payload
from tests.interop.js_peer import JsPeer, js_peer
from tests.interop.test_js_libp2p_relay import Relay, a_relay
from webrtc_bridge.config import PeerConfig, WebRtcConfig
from webrtc_bridge.datachannel_streams import DataChannelMuxer
from webrtc_bridge.transport import WebRtcTransport

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("node_webrtc")]

JS = {"transports": ["tcp", "circuit", "webrtc"], "listen": ["/webrtc"]}
QUICK = WebRtcConfig(peer=PeerConfig(ice=IceConfig(consent_timeout=10.0, disconnected_after=8.0)))
"""Gives a silent peer up after 10 s instead of RFC 7675's 30."""


@contextlib.asynccontextmanager
async def our_peer() -> AsyncIterator[Host]:
    async with Host(PrivateKey.generate()) as host:
        host.add_transport(WebRtcTransport(host, QUICK))
        payload.serve(host)
        yield host


async def js_address(js: JsPeer, relay: Relay) -> Multiaddr:
    """Let js reserve at the relay, and return its ``/webrtc`` address."""
    await js.do("reserve", relay=relay.address)
    return relay.address.encapsulate(f"/p2p-circuit/webrtc/p2p/{js.peer_id}")


async def our_address(host: Host, relay: Relay) -> Multiaddr:
    """Listen on ``/webrtc`` behind the relay, and return the address to dial."""
    listener = await host.listen(relay.address.encapsulate("/p2p-circuit/webrtc"))
    return listener.addresses[0].encapsulate(f"/p2p/{host.peer_id}")


def direct(host: Host, js: JsPeer) -> Connection:
    """Return our unlimited connection to js."""
    (connection,) = [one for one in host.connections(js.peer_id) if one.limit is None]
    return connection


@pytest.mark.parametrize("relay_kind", ["ours", "js"])
async def test_we_dial_js(node: Path, relay_kind: str) -> None:
    async with a_relay(relay_kind, node) as relay, js_peer(node, **JS) as js, our_peer() as host:
        connection = await host.connect(await js_address(js, relay))
        assert connection.limit is None
        assert connection.direction is Direction.OUTBOUND
        assert isinstance(connection.muxer, DataChannelMuxer)
        assert connection.muxer.peer.session.selected_pair is not None
        assert await payload.echo(host, connection, 100_000)
        told = (await js.do("connections"))["connections"]
        (mine,) = [one for one in told if one["multiplexer"] == "/webrtc"]
        assert not mine["limited"]
        assert mine["direction"] == "inbound"
        await asyncio.wait_for(host.identified(connection), 10)
        assert connection.peer_info is not None
        assert payload.ECHO in connection.peer_info.protocols
        assert (await js.do("echo", target=host.peer_id, bytes=100_000))["same"]
        assert await host.ping(connection) > 0


@pytest.mark.parametrize("relay_kind", ["ours", "js"])
async def test_js_dials_us(node: Path, relay_kind: str) -> None:
    async with a_relay(relay_kind, node) as relay, js_peer(node, **JS) as js, our_peer() as host:
        connection = await js.do("connect", target=await our_address(host, relay))
        assert connection["multiplexer"] == "/webrtc"
        assert not connection["limited"]
        assert (await js.do("echo", target=host.peer_id, bytes=100_000))["same"]
        await js.event("peer:identify", peer=str(host.peer_id))
        assert await payload.echo(host, direct(host, js), 100_000)
        assert (await js.do("ping", target=host.peer_id))["ms"] > 0


@pytest.fixture
async def joined(node: Path) -> AsyncIterator[tuple[Host, JsPeer, Connection]]:
    """A direct connection that we dialled."""
    async with a_relay("ours", node) as relay, js_peer(node, **JS) as js, our_peer() as host:
        connection = await host.connect(await js_address(js, relay))
        yield host, js, connection


async def test_five_megabytes_each_way(joined: tuple[Host, JsPeer, Connection]) -> None:
    host, js, connection = joined
    assert await payload.send(host, connection, 5 * payload.MEGABYTES)
    assert await payload.fetch(host, connection, 5 * payload.MEGABYTES)
    assert (await js.do("send", target=host.peer_id, bytes=5 * payload.MEGABYTES))["same"]
    assert (await js.do("fetch", target=host.peer_id, bytes=5 * payload.MEGABYTES))["same"]
    # Both ways at once stays under the 4 MiB unread at which js-libp2p resets a stream: it cannot hold a sender back.
    assert await payload.echo(host, connection, 3 * payload.MEGABYTES)


async def test_many_streams_after_each_other_reuse_their_channels(joined: tuple[Host, JsPeer, Connection]) -> None:
    host, js, connection = joined
    for _ in range(60):
        assert await payload.echo(host, connection, 100)
    assert (await js.do("echo", target=host.peer_id, bytes=100))["same"]
    assert isinstance(connection.muxer, DataChannelMuxer)
    muxer = connection.muxer
    await payload.eventually(lambda: muxer.peer.sctp.channels <= 3)


async def test_many_streams_at_once(joined: tuple[Host, JsPeer, Connection]) -> None:
    host, _, connection = joined
    assert all(await asyncio.gather(*(payload.echo(host, connection, 20_000) for _ in range(20))))


async def test_a_stream_that_js_resets_ends_alone(joined: tuple[Host, JsPeer, Connection]) -> None:
    host, _, connection = joined
    stream = await host.new_stream(connection, [payload.SOURCE])
    await stream.reset()
    assert await payload.echo(host, connection, 1000)


async def test_js_that_is_killed_is_noticed_by_consent(joined: tuple[Host, JsPeer, Connection]) -> None:
    _, js, connection = joined
    assert isinstance(connection.muxer, DataChannelMuxer)
    await js.kill()
    async with asyncio.timeout(15):
        await connection.wait_closed()
    assert "consent expired" in str(connection.muxer.peer.close_reason)


async def test_js_that_hangs_up_is_noticed_at_once(joined: tuple[Host, JsPeer, Connection]) -> None:
    host, js, connection = joined
    await js.do("disconnect", target=host.peer_id)
    async with asyncio.timeout(5):
        await connection.wait_closed()


async def test_js_notices_when_we_hang_up(joined: tuple[Host, JsPeer, Connection]) -> None:
    host, js, connection = joined
    await connection.close()
    await js.event("connection:close", peer=str(host.peer_id), multiplexer="/webrtc", timeout=10)
