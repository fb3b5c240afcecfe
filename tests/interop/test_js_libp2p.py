"""Our host against js-libp2p: TCP and WebSocket, either side dialling, every kind of key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from signalling.libp2p.aio.connection import Connection, Direction
from signalling.libp2p.aio.host import Host
from signalling.libp2p.identify import PUSH_PROTOCOL
from signalling.libp2p.keys import KeyType, PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.ping import PING_PROTOCOL
from tests.interop import payload
from tests.interop.js_peer import JsPeer, js_peer

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("node_modules")]

TEN_MEGABYTES = 10 * payload.MEGABYTES

LISTEN = {
    "tcp": "/ip4/127.0.0.1/tcp/0",
    "tcp6": "/ip6/::1/tcp/0",
    "ws": "/ip4/127.0.0.1/tcp/0/ws",
}


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with Host(PrivateKey.generate()) as host:
        payload.serve(host)
        yield host


async def _connected(host: Host, js: JsPeer) -> Connection:
    """Return our side of the connection that js opened."""
    await payload.eventually(lambda: host.connections(js.peer_id))
    return await host.identified(host.connections(js.peer_id)[0])


async def _connect(host: Host, js: JsPeer, dialler: str, transport: str) -> Connection:
    if dialler == "ours":
        connection = await host.connect(js.addresses[0])
        assert connection.direction is Direction.OUTBOUND
        return await host.identified(connection)
    await host.listen(LISTEN[transport])
    await js.do("connect", target=host.addresses()[0])
    connection = await _connected(host, js)
    assert connection.direction is Direction.INBOUND
    return connection


@pytest.mark.parametrize("dialler", ["ours", "js"])
@pytest.mark.parametrize("transport", ["tcp", "tcp6", "ws"])
async def test_identify_ping_and_echo(host: Host, node: Path, transport: str, dialler: str) -> None:
    async with js_peer(node, transports=["tcp", "ws"], listen=[LISTEN[transport]]) as js:
        connection = await _connect(host, js, dialler, transport)
        info = connection.peer_info
        assert info is not None
        assert info.agent_version.startswith("js-libp2p/3.")
        assert info.protocol_version == "ipfs/0.1.0"
        assert {PING_PROTOCOL, PUSH_PROTOCOL, payload.ECHO} <= info.protocols
        assert info.signed_record is not None
        assert info.addresses == tuple(address.decapsulate("p2p") for address in js.addresses)
        assert info.public_key is not None
        assert js.peer_id.matches(info.public_key)

        told = await js.event("peer:identify", peer=str(host.peer_id))
        assert told["agent"] == host.config.identify.agent_version
        assert set(told["protocols"]) == set(host.protocols())
        assert told["observed"] is not None

        assert 0 < await host.ping(connection) < 5
        assert (await js.do("ping", target=host.peer_id))["ms"] >= 0
        assert await payload.echo(host, connection, 100_000)
        assert (await js.do("echo", target=host.peer_id, bytes=100_000))["same"]


@pytest.mark.parametrize("dialler", ["ours", "js"])
@pytest.mark.parametrize("transport", ["tcp", "ws"])
async def test_ten_megabytes_each_way(host: Host, node: Path, transport: str, dialler: str) -> None:
    async with js_peer(node, transports=["tcp", "ws"], listen=[LISTEN[transport]]) as js:
        connection = await _connect(host, js, dialler, transport)
        assert await payload.send(host, connection, TEN_MEGABYTES)
        assert await payload.fetch(host, connection, TEN_MEGABYTES)
        assert (await js.do("send", target=host.peer_id, bytes=TEN_MEGABYTES))["same"]
        assert (await js.do("fetch", target=host.peer_id, bytes=TEN_MEGABYTES))["same"]
        assert await payload.echo(host, connection, TEN_MEGABYTES)


async def test_fifty_streams_at_a_time_both_ways(host: Host, node: Path) -> None:
    async with js_peer(node, listen=[LISTEN["tcp"]]) as js:
        connection = await host.connect(js.addresses[0])
        ours = [payload.echo(host, connection, 20_000) for _ in range(50)]
        theirs = [js.do("echo", target=host.peer_id, bytes=20_000) for _ in range(50)]
        ours_came_back, theirs_came_back = await asyncio.gather(asyncio.gather(*ours), asyncio.gather(*theirs))
        assert all(ours_came_back)
        assert all(answer["same"] for answer in theirs_came_back)


@pytest.mark.parametrize(("name", "key_type"), [("RSA", KeyType.RSA), ("secp256k1", KeyType.SECP256K1)])
async def test_a_js_peer_with_another_kind_of_key(host: Host, node: Path, name: str, key_type: KeyType) -> None:
    async with js_peer(node, keyType=name, listen=[LISTEN["tcp"]]) as js:
        connection = await host.identified(await host.connect(js.addresses[0]))
        assert connection.remote_peer == js.peer_id
        assert connection.peer_info is not None
        assert connection.peer_info.public_key is not None
        assert connection.peer_info.public_key.type is key_type
        assert connection.peer_info.signed_record is not None
        assert await payload.echo(host, connection, 1000)
        assert (await js.do("echo", target=host.peer_id, bytes=1000))["same"]


async def test_what_changes_is_pushed_to_js(host: Host, node: Path) -> None:
    async with js_peer(node, listen=[LISTEN["tcp"]]) as js:
        await host.identified(await host.connect(js.addresses[0]))
        await js.event("peer:identify", peer=str(host.peer_id))
        await host.listen(LISTEN["tcp"])
        host.handle("/lastresort/new/1.0.0", payload._echo)
        async with asyncio.timeout(20):
            known = await js.do("peer", target=host.peer_id)
            while "/lastresort/new/1.0.0" not in known["protocols"] or not known["addresses"]:
                await asyncio.sleep(0.02)
                known = await js.do("peer", target=host.peer_id)
        assert all(entry["certified"] for entry in known["addresses"])
        listening = [str(address.decapsulate("p2p")) for address in host.addresses()]
        assert [entry["address"].partition("/p2p/")[0] for entry in known["addresses"]] == listening


async def test_what_changes_at_js_is_pushed_to_us(host: Host, node: Path) -> None:
    async with js_peer(node, listen=[LISTEN["tcp"]]) as js:
        connection = await host.identified(await host.connect(js.addresses[0]))
        await js.do("listen", address=LISTEN["tcp6"])
        await payload.eventually(lambda: connection.peer_info and len(connection.peer_info.addresses) == 2)
        assert connection.peer_info is not None
        assert Multiaddr(str(connection.peer_info.addresses[1])).value_for("ip6") == "::1"


async def test_a_killed_js_peer_ends_its_streams_and_connection(host: Host, node: Path) -> None:
    async with js_peer(node, listen=[LISTEN["tcp"]]) as js:
        connection = await host.connect(js.addresses[0])
        stream = await host.new_stream(connection, [payload.ECHO])
        await js.kill()
        async with asyncio.timeout(10):
            with pytest.raises(ConnectionError):
                await stream.read()
            await connection.wait_closed()
        assert host.connections() == []
