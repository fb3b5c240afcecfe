"""The gateway on loopback: pages meet native peers and each other; strangers, floods and half-open sockets not."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from aiohttp import WSMsgType, WSServerHandshakeError

from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.peer_id import PeerId
from tests.interop.payload import eventually
from tests.webrtc_bridge.hosts import ECHO, webrtc_host
from tests.webrtc_bridge.page import Page, World, world
from webrtc_bridge.datachannel_streams import DataChannelMuxer
from webrtc_bridge.gateway import Gateway, GatewayConfig

NOBODY = str(PeerId.from_public_key(PrivateKey.generate().public_key))


async def ask(muxer: DataChannelMuxer, data: bytes) -> bytes:
    """Speak multistream-select and the echo protocol as the page's scripts do."""
    stream = await muxer.open_stream()
    tokens = [b"/multistream/1.0.0\n", ECHO.encode() + b"\n"]
    await stream.write(b"".join(bytes([len(token)]) + token for token in tokens))
    await stream.write(data)
    await stream.close_write()
    got = b""
    while chunk := await stream.read():
        got += chunk
    await stream.close()
    return got.removeprefix(b"".join(bytes([len(token)]) + token for token in tokens))


async def test_a_tab_calls_a_native_peer() -> None:
    async with world() as here, webrtc_host() as native, here.page() as page:
        await native.listen(here.relay)
        welcome = await page.hello()
        assert welcome["relay"] == str(here.relay.address)
        assert welcome["iceServers"] == []
        muxer = await page.call(str(native.host.peer_id))
        states = [message["state"] for message in page.passed_over if message["type"] == "signalling"]
        assert states == ["relayed"]
        closed = await page.hear("signalling")
        assert (closed["state"], closed["session"]) == ("closed", "s1")
        assert closed["ms"] > 0
        assert await ask(muxer, b"hello") == b"hello"
        callers = native.host.connections(PeerId.parse(page.peer))
        (connection,) = [one for one in callers if one.limit is None]
        await muxer.close()
        await connection.wait_closed()


async def test_a_native_peer_calls_a_tab() -> None:
    async with world() as here, webrtc_host() as native, here.page() as page:
        await page.hello()
        address = here.relay.address.encapsulate(f"/p2p-circuit/webrtc/p2p/{page.peer}")
        connection, muxer = await asyncio.gather(native.host.connect(address), page.answer())
        assert connection.limit is None
        stream = await connection.muxer.open_stream()
        await stream.write(b"hi")
        while await (await muxer.accept_stream()).read() != b"hi":
            pass  # the host's identify stream
        await muxer.close()


async def test_a_tab_calls_a_tab() -> None:
    async with world() as here, here.page() as one, here.page() as other:
        await one.hello("one")
        await other.hello("other")
        here_end, there_end = await asyncio.gather(one.call(other.peer), other.answer())
        stream = await here_end.open_stream()
        await stream.write(b"hi")
        assert await (await there_end.accept_stream()).read() == b"hi"
        await here_end.close()
        await there_end.close()


async def test_the_roster_follows_the_tabs() -> None:
    async with world() as here, here.page() as one:
        await one.hello("one")
        async with here.page() as other:
            await other.hello("other")
            await roster(one, {"one", "other"})
        await roster(one, {"one"})


async def roster(page: Page, names: set[str]) -> None:
    async with asyncio.timeout(10):
        while True:
            message = await page.hear("roster")
            assert all(entry["kind"] == "browser" for entry in message["peers"])
            if {entry["name"] for entry in message["peers"]} == names:
                return


async def test_ice_servers_are_told() -> None:
    async with world(GatewayConfig(ice_servers=("stun:127.0.0.1:3478",))) as here, here.page() as page:
        assert (await page.hello())["iceServers"] == [{"urls": ["stun:127.0.0.1:3478"]}]


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null", "https://127.0.0.1"])
async def test_a_foreign_origin_is_refused(origin: str | None) -> None:
    async with world() as here:
        with pytest.raises(WSServerHandshakeError) as caught:
            await here.connect(origin)
        assert caught.value.status == 403
        assert here.gateway.refused.total() == 1
        assert here.gateway.tabs == 0


async def test_a_name_that_was_rebound_to_us_is_refused() -> None:
    async with world() as here:
        host = f"evil.example:{here.url.rpartition(':')[2]}"
        with pytest.raises(WSServerHandshakeError) as caught:
            await here._client.ws_connect(here.url + "/gateway", headers={"Origin": f"http://{host}", "Host": host})
        assert caught.value.status == 403
        assert here.gateway.refused["the host name is not one of the configured origins"] == 1


async def test_configured_origins_are_the_only_ones() -> None:
    async with world(GatewayConfig(origins=("https://demo.example",))) as here:
        with pytest.raises(WSServerHandshakeError):
            await here.connect()
        socket = await here.connect("https://demo.example")
        await socket.close()


async def test_it_binds_to_loopback_unless_told() -> None:
    assert GatewayConfig().bind_host == "127.0.0.1"
    async with world() as here:
        assert here.url.startswith("http://127.0.0.1:")


async def test_too_many_tabs() -> None:
    async with world(GatewayConfig(max_tabs=1)) as here, here.page() as page:
        await page.hello()
        with pytest.raises(WSServerHandshakeError) as caught:
            await here.connect()
        assert caught.value.status == 503


async def test_nobody_says_hello() -> None:
    async with world(GatewayConfig(hello_timeout=0.1)) as here, here.page() as page:
        assert await end_of(page) == 1008
        await eventually(lambda: here.gateway.tabs == 0)


ENDS = (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING)


async def end_of(page: Page) -> int | None:
    """Read until the gateway closes the socket; returns the code."""
    async with asyncio.timeout(10):
        while (message := await page.socket.receive()).type not in ENDS:
            pass
    return message.data if message.type is WSMsgType.CLOSE else page.socket.close_code


async def test_the_first_message_has_to_be_a_hello() -> None:
    async with world() as here, here.page() as page:
        await page.say(type="bye", session="s")
        assert (await page.hear("error"))["code"] == "hello-first"
        await page.hello()
        await page.say(type="hello", name="again")
        assert (await page.hear("error"))["code"] == "bad-message"


async def test_bad_messages_are_answered_and_at_last_end_the_tab() -> None:
    async with world(GatewayConfig(max_errors=5)) as here, here.page() as page:
        await page.hello()
        for text in ("{", "[]", '{"type": "what"}', '{"type": "answer", "session": "gone", "sdp": "v=0"}'):
            await page.socket.send_str(text)
        codes = [(await page.hear("error"))["code"] for _ in range(4)]
        assert codes == ["bad-json", "bad-message", "unknown-type", "unknown-session"]
        await page.socket.send_str("{")
        await page.socket.send_str("{")
        assert await end_of(page) == 1008


async def test_a_binary_message_ends_the_tab() -> None:
    async with world() as here, here.page() as page:
        await page.hello()
        await page.socket.send_bytes(b"\x00")
        assert await end_of(page) == 1003


async def test_a_message_that_is_too_long_ends_the_tab() -> None:
    async with world(GatewayConfig(max_message=10_000)) as here, here.page() as page:
        await page.hello()
        await page.say(type="hello", name="x" * 20_000)
        assert await end_of(page) == 1009
        await eventually(lambda: here.gateway.tabs == 0)


async def test_a_flood_ends_the_tab() -> None:
    async with world(GatewayConfig(rate=1.0, burst=20)) as here, here.page() as page:
        await page.hello()
        for number in range(100):
            await page.say(type="candidate", session=f"s{number}", candidate=None)
        assert await end_of(page) == 1008


async def test_a_peer_that_is_not_there() -> None:
    async with world() as here, here.page() as page:
        await page.hello()
        await page.say(type="offer", peer=NOBODY, session="s1", sdp="v=0")
        error = await page.hear("error")
        assert (error["code"], error["session"]) == ("peer-unreachable", "s1")
        await page.say(type="candidate", session="s1", candidate=None)  # too late, and no mistake
        await page.say(type="offer", peer=page.peer, session="s2", sdp="v=0")
        assert (await page.hear("error"))["session"] == "s2"


async def test_too_many_sessions() -> None:
    async with world(GatewayConfig(max_sessions=2)) as here, here.page() as page, here.page() as silent:
        await page.hello()
        await silent.hello()
        for number in range(3):
            await page.say(type="offer", peer=silent.peer, session=f"s{number}", sdp="v=0")
        error = await page.hear("error")
        assert (error["code"], error["session"]) == ("too-many-sessions", "s2")
        await page.say(type="offer", peer=silent.peer, session="s0", sdp="v=0")
        assert (await page.hear("error"))["code"] == "session-exists"


async def test_giving_a_session_up_resets_the_peers_stream() -> None:
    async with world() as here, here.page() as page, here.page() as called:
        await page.hello()
        await called.hello()
        await page.say(type="offer", peer=called.peer, session="s1", sdp="v=0")
        offer = await called.hear("offer")
        assert offer["peer"] == page.peer
        await page.say(type="bye", session="s1", reason="changed my mind")
        bye = await called.hear("bye")
        assert bye["session"] == offer["session"]
        assert (await called.hear("signalling"))["state"] == "closed"


async def test_a_session_that_never_ends_is_ended() -> None:
    async with world(GatewayConfig(session_timeout=0.3)) as here, here.page() as page, here.page() as called:
        await page.hello()
        await called.hello()
        await page.say(type="offer", peer=called.peer, session="s1", sdp="v=0")
        await called.hear("offer")
        async with asyncio.timeout(5):
            while (await page.hear("signalling"))["state"] != "closed":
                pass


async def test_no_relay_no_welcome() -> None:
    gateway = Gateway(f"/ip4/127.0.0.1/tcp/1/p2p/{NOBODY}", GatewayConfig(join_timeout=2.0))
    async with world() as here:
        here.gateway.relay = gateway.relay
        async with here.page() as page:
            await page.say(type="hello", name="a")
            assert (await page.hear("error"))["code"] == "relay-unreachable"
            assert await end_of(page) == 1013


async def test_a_relay_without_a_name_is_a_callers_mistake() -> None:
    with pytest.raises(ValueError, match="does not name the relay"):
        Gateway("/ip4/127.0.0.1/tcp/1")


async def test_a_half_open_socket_is_noticed() -> None:
    async with world(GatewayConfig(heartbeat=0.2)) as here:
        reader, writer = await raw_socket(here)
        await eventually(lambda: here.gateway.tabs == 1)
        await eventually(lambda: here.gateway.tabs == 0)
        writer.close()
        await writer.wait_closed()
        assert b"101 Switching" in await reader.read()


async def test_a_page_that_does_not_read_is_cut_off_and_others_go_on() -> None:
    config = GatewayConfig(max_queued=200, max_errors=10**9, rate=1e9, burst=10**9)
    async with world(config) as here, here.page() as other:
        await other.hello("other")
        _, writer = await raw_socket(here)
        await eventually(lambda: here.gateway.tabs == 2)
        payload = b"{" * 50
        flood = (bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload) * 1000
        with pytest.raises(ConnectionError):
            await pour(writer, flood)
        await eventually(lambda: here.gateway.tabs == 1)
        await roster(other, {"other"})
        writer.close()


async def pour(writer: asyncio.StreamWriter, data: bytes) -> None:
    async with asyncio.timeout(30):
        while True:
            writer.write(data)
            await writer.drain()


async def raw_socket(here: World) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A page that completes the handshake, says hello and then answers nothing, pings included."""
    host, port = here.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=2**20)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lines = [
        "GET /gateway HTTP/1.1",
        f"Host: {host}:{port}",
        f"Origin: {here.url}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ]
    payload = json.dumps({"type": "hello", "name": "silent"}).encode()
    frame = bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload
    writer.write("\r\n".join([*lines, "", ""]).encode() + frame)
    await writer.drain()
    return reader, writer


async def test_closing_the_gateway_ends_the_tabs_and_their_guests() -> None:
    async with world() as here, here.page() as page:
        await page.hello()
        assert here.relay.service.snapshot().reservations
        await here.gateway.close()
        assert here.gateway.tabs == 0
        assert await end_of(page) in (1001, 1000)
        with pytest.raises(WSServerHandshakeError):
            await here.connect()
        await eventually(lambda: not here.relay.host.connections())


async def test_a_tab_that_leaves_leaves_nothing_behind() -> None:
    async with world() as here, webrtc_host() as native:
        await native.listen(here.relay)
        async with here.page() as page:
            await page.hello()
            await page.say(type="offer", peer=str(native.host.peer_id), session="s1", sdp="v=0")
            await page.hear("signalling")
        await eventually(lambda: here.gateway.tabs == 0)
        await eventually(lambda: len(here.relay.host.connections()) == 1)
