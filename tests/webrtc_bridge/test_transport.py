"""``/webrtc`` between two of our hosts through our relay, on loopback."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from ice import IceConfig
from signalling.errors import DialError, MultiaddrError, SignallingError
from signalling.libp2p.aio.connection import Connection, Direction
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.host_config import RelayConfig
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.webrtc_signalling import SIGNALLING_PROTOCOL, IceCandidate, candidate_message, offer_message
from tests.interop.payload import eventually
from tests.webrtc_bridge.hosts import LOOPBACK, WebRtcHost, echoed, relay, webrtc_host
from webrtc_bridge.config import PeerConfig
from webrtc_bridge.datachannel_streams import DataChannelMuxer
from webrtc_bridge.peer import DataPeer
from webrtc_bridge.sdp import SdpType
from webrtc_bridge.transport import split_webrtc

R, T = (PeerId.from_public_key(PrivateKey.generate().public_key) for _ in range(2))
CIRCUIT = f"/ip4/192.0.2.1/tcp/4001/p2p/{R}/p2p-circuit"


@pytest.mark.parametrize(
    ("address", "circuit", "target"),
    [
        (f"{CIRCUIT}/webrtc/p2p/{T}", f"{CIRCUIT}/p2p/{T}", T),
        (f"{CIRCUIT}/p2p/{T}/webrtc", f"{CIRCUIT}/p2p/{T}", T),
        (f"{CIRCUIT}/webrtc", CIRCUIT, None),
        (f"/webrtc/p2p/{T}", "/", T),
        ("/webrtc", "/", None),
    ],
)
def test_addresses(address: str, circuit: str, target: PeerId | None) -> None:
    parts = split_webrtc(Multiaddr(address))
    assert parts is not None
    assert (str(parts.circuit), parts.target) == (circuit, target)


@pytest.mark.parametrize(
    "address", [CIRCUIT, f"{CIRCUIT}/webrtc/webrtc", f"{CIRCUIT}/webrtc/tcp/1", "/ip4/192.0.2.1/tcp/1/webrtc", "/"]
)
def test_what_is_no_address_of_this_transport(address: str) -> None:
    assert split_webrtc(Multiaddr(address)) is None


def direct(here: WebRtcHost, there: WebRtcHost) -> list[Connection]:
    return [one for one in here.host.connections(there.host.peer_id) if one.limit is None]


async def test_a_direct_connection_comes_out_of_a_relayed_one() -> None:
    async with relay() as at, webrtc_host() as one, webrtc_host() as other:
        connection = await one.host.connect(await other.listen(at))
        assert connection.limit is None
        assert connection.direction is Direction.OUTBOUND
        assert connection.remote_peer == other.host.peer_id
        assert isinstance(connection.muxer, DataChannelMuxer)
        assert connection.muxer.peer.session.selected_pair is not None
        assert await echoed(one.host, connection, b"x" * 200_000) == b"x" * 200_000
        await eventually(lambda: direct(other, one))
        (back,) = direct(other, one)
        assert str(back.remote_address) == f"/webrtc/p2p/{one.host.peer_id}"
        assert back.direction is Direction.INBOUND
        assert await echoed(other.host, back, b"hello") == b"hello"
        await one.host.identified(connection)
        # A stream by peer id takes the direct connection, and the relay may go.
        await at.host.close()
        assert await one.host.ping(other.host.peer_id) > 0
        await connection.close()
        await back.wait_closed()


async def test_the_address_is_advertised_while_listening() -> None:
    async with relay() as at, webrtc_host() as one:
        address = await one.listen(at)
        assert address in one.host.addresses()
        (listener,) = one.transport._listeners
        await one.host.unlisten(listener)
        assert address not in one.host.addresses()
        assert SIGNALLING_PROTOCOL not in one.host.protocols()


async def test_a_reservation_that_was_there_before_stays() -> None:
    async with relay() as at, webrtc_host() as one:
        reservation = await one.host.reserve(at.address)
        await one.listen(at)
        (listener,) = one.transport._listeners
        await one.host.unlisten(listener)
        assert reservation.addresses
        assert at.service.snapshot().reservations == (one.host.peer_id,)


async def test_both_dial_at_once() -> None:
    async with relay() as at, webrtc_host() as one, webrtc_host() as other:
        addresses = [await one.listen(at), await other.listen(at)]
        connections = await asyncio.gather(one.host.connect(addresses[1]), other.host.connect(addresses[0]))
        for host, connection in zip((one.host, other.host), connections, strict=True):
            assert connection.limit is None
            assert await echoed(host, connection, b"x") == b"x"


async def test_a_relay_with_a_small_limit_is_enough_for_signalling() -> None:
    async with relay(RelayConfig(circuit_data=16 * 1024)) as at, webrtc_host() as one, webrtc_host() as other:
        connection = await one.host.connect(await other.listen(at))
        assert await echoed(one.host, connection, b"x" * 100_000) == b"x" * 100_000


async def test_a_peer_that_does_not_speak_webrtc() -> None:
    async with relay() as at, webrtc_host() as one, webrtc_host() as other:
        await other.host.reserve(at.address)
        address = at.address.encapsulate(f"/p2p-circuit/webrtc/p2p/{other.host.peer_id}")
        with pytest.raises(DialError, match=SIGNALLING_PROTOCOL):
            await one.host.connect(address)


async def test_no_path_is_told_as_such() -> None:
    nowhere = PeerConfig(ice=IceConfig(excluded_networks=("0.0.0.0/0", "::/0")), connect_timeout=0.5)
    async with relay() as at, webrtc_host() as one, webrtc_host(peer=nowhere) as other:
        one.transport.config = replace(LOOPBACK, peer=nowhere)
        with pytest.raises(DialError, match=r"no connection within 0\.5 s"):
            await one.host.connect(await other.listen(at))
        await eventually(lambda: other.transport.refused["failed"] == 1)


async def test_addresses_that_lead_nowhere() -> None:
    async with webrtc_host() as one:
        with pytest.raises(MultiaddrError):
            await one.transport.dial(Multiaddr(f"{CIRCUIT}/webrtc/p2p/{T}"), R)
        with pytest.raises(MultiaddrError, match="names no relay"):
            await one.transport.dial(Multiaddr(f"/webrtc/p2p/{T}"), T)
        with pytest.raises(MultiaddrError):
            await one.transport.listen(Multiaddr("/webrtc"), lambda connection: None)
        assert not one.transport.can_dial(Multiaddr(f"{CIRCUIT}/webrtc"))
        assert not one.transport.can_listen(Multiaddr(f"{CIRCUIT}/webrtc/p2p/{T}"))


async def signalling(one: WebRtcHost, other: WebRtcHost, at: Multiaddr) -> Stream:
    """A signalling stream to ``other`` on which nothing is said yet."""
    connection = await one.host.connect(at.encapsulate(f"/p2p-circuit/p2p/{other.host.peer_id}"))
    return await one.host.new_stream(connection, [SIGNALLING_PROTOCOL], allow_limited=True)


async def test_limits_on_inbound_negotiations() -> None:
    async with relay() as at, webrtc_host() as one, webrtc_host(max_inbound_per_peer=2) as other:
        await other.listen(at)
        silent = [await signalling(one, other, at.address) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(SignallingError):
            await (await signalling(one, other, at.address)).read()
        assert other.transport.refused["too many negotiations"] == 1
        for stream in silent:
            await stream.reset()
        await eventually(lambda: not other.transport._inbound)


async def test_a_dialler_that_says_nothing_is_given_up() -> None:
    async with relay() as at, webrtc_host() as one, webrtc_host(accept_timeout=0.2) as other:
        await other.listen(at)
        stream = await signalling(one, other, at.address)
        with pytest.raises(SignallingError):
            await stream.read()
        assert other.transport.refused["timeout"] == 1


@pytest.mark.parametrize(
    "messages",
    [
        [b"\xff\xff\xff"] * 100,
        [offer_message("not a description")],
        [offer_message("v=0\r\n" + "a=x\r\n" * 12_000)],
        [candidate_message(IceCandidate(candidate="x")), b"\x08\x01\x12\x03v=0"],
    ],
    ids=["noise", "no description", "a long one", "an answer"],
)
async def test_a_dialler_that_talks_nonsense_is_reset(messages: list[bytes]) -> None:
    async with relay() as at, webrtc_host() as one, webrtc_host() as other:
        await other.listen(at)
        stream = await signalling(one, other, at.address)
        with pytest.raises(SignallingError):
            await talk(stream, messages)
        await eventually(lambda: other.transport.refused["failed"] == 1)


async def talk(stream: Stream, messages: list[bytes]) -> None:
    for message in messages:
        await stream.write_delimited(message)
    while await stream.read():
        pass


async def test_strange_candidates_do_not_matter() -> None:
    """Null, the empty text, ``a=`` in front, an mDNS name, nonsense: what real peers send beside what is needed."""
    async with relay() as at, webrtc_host() as one, webrtc_host() as other:
        await other.listen(at)
        stream = await signalling(one, other, at.address)
        async with DataPeer(SdpType.OFFER, LOOPBACK.peer) as peer:
            muxer = DataChannelMuxer(peer)
            init = peer.create_data_channel("init")
            await peer.gather()
            offer = peer.create_offer()
            lines = [line for line in offer.splitlines() if line.startswith("a=candidate")]
            bare = "\r\n".join(line for line in offer.splitlines() if "candidate" not in line) + "\r\n"
            await stream.write_delimited(offer_message(bare))
            mdns = "candidate:1 1 udp 2122194687 3c1b9d6e-3a6f-4a3c-9d0a-0a8f6b1c2d3e.local 50000 typ host"
            for odd in (mdns, "nonsense", "candidate:", "a=candidate:x y z"):
                await stream.write_delimited(candidate_message(IceCandidate(candidate=odd)))
            for line in lines:
                await stream.write_delimited(candidate_message(IceCandidate(candidate=line, sdp_mid="0")))
            await stream.write_delimited(b'\x08\x02\x12\x02""')
            await stream.write_delimited(b"\x08\x02\x12\x04null")
            await answer(stream, peer)
            await peer.wait_connected()
            init.close()
            await stream.close()
            await eventually(lambda: direct(other, one))
            assert muxer.streams >= 0


async def answer(stream: Stream, peer: DataPeer) -> None:
    """Give the answer and two candidates of the other side to ``peer``."""
    wanted = 3
    while wanted:
        message = await stream.read_delimited(65536)
        assert message is not None
        text = message[message.index(b"v=0" if b"v=0" in message else b"{") :].decode()
        if text.startswith("{"):
            peer.add_ice_candidate(IceCandidate.from_json(json.loads(text)))
        else:
            peer.set_remote_description(text)
        wanted -= 1


async def test_a_cancelled_dial_leaves_nothing() -> None:
    nowhere = PeerConfig(ice=IceConfig(excluded_networks=("0.0.0.0/0", "::/0")))
    async with (
        relay() as at,
        webrtc_host(peer=nowhere) as one,
        webrtc_host(peer=nowhere, orphan_timeout=0.2) as other,
    ):
        dialling = asyncio.create_task(one.host.connect(await other.listen(at)))
        await eventually(lambda: other.transport._inbound)
        dialling.cancel()
        await asyncio.gather(dialling, return_exceptions=True)
        await eventually(lambda: not other.transport._inbound, timeout=5)
        assert other.transport.refused["failed"] == 1


async def test_closing_the_host_in_the_middle_of_a_negotiation() -> None:
    nowhere = PeerConfig(ice=IceConfig(excluded_networks=("0.0.0.0/0", "::/0")))
    async with relay() as at, webrtc_host(peer=nowhere) as one, webrtc_host(peer=nowhere) as other:
        dialling = asyncio.create_task(one.host.connect(await other.listen(at)))
        await eventually(lambda: other.transport._inbound)
        await other.host.close()
        dialling.cancel()
        await asyncio.gather(dialling, return_exceptions=True)
