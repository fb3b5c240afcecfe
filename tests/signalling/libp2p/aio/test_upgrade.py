from __future__ import annotations

import asyncio

import pytest

from signalling.errors import HandshakeError, PeerIdMismatch
from signalling.libp2p.aio.upgrade import UpgradeProtocol, Upgrader
from signalling.libp2p.config import NoiseConfig, UpgradeConfig
from signalling.libp2p.roles import Role
from tests.signalling.libp2p.aio.pipes import (
    CLIENT,
    CLIENT_PEER,
    SERVER,
    SERVER_PEER,
    MemoryStream,
    over_memory,
    over_tcp,
)

SLOW = UpgradeConfig(noise=NoiseConfig(stream_muxers=()))


@pytest.mark.parametrize("config", [None, SLOW])
@pytest.mark.parametrize("connect", [over_tcp, over_memory])
async def test_both_ends_know_each_other(config: UpgradeConfig | None, connect: type[over_tcp]) -> None:  # type: ignore[valid-type]
    async with connect(config, config) as both:  # type: ignore[attr-defined]
        assert both.client.remote_peer == SERVER_PEER
        assert both.server.remote_peer == CLIENT_PEER
        assert both.server.remote_key == CLIENT.public_key
        ours, theirs = await both.streams()
        await ours.write(b"hello")
        assert await theirs.read() == b"hello"


async def test_another_peer_than_expected_is_an_error_of_its_own() -> None:
    one, two = MemoryStream.pair()
    results = await asyncio.gather(
        Upgrader(CLIENT).upgrade_stream(one, Role.INITIATOR, CLIENT_PEER),
        Upgrader(SERVER).upgrade_stream(two, Role.RESPONDER),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [PeerIdMismatch, HandshakeError]


async def test_a_connection_that_ends_fails_the_upgrade() -> None:
    one, two = MemoryStream.pair()
    upgrade = asyncio.create_task(Upgrader(CLIENT).upgrade_stream(one, Role.INITIATOR))
    await two.read()
    await two.close()
    with pytest.raises(HandshakeError, match="closed the connection"):
        await upgrade


async def test_a_reset_fails_the_upgrade() -> None:
    one, two = MemoryStream.pair()
    upgrade = asyncio.create_task(Upgrader(CLIENT).upgrade_stream(one, Role.INITIATOR))
    await two.read()
    await two.reset()
    with pytest.raises(HandshakeError):
        await upgrade


async def test_a_silent_peer_fails_the_upgrade_in_time() -> None:
    one, _ = MemoryStream.pair()
    with pytest.raises(HandshakeError, match=r"within 0.02 s"):
        await Upgrader(CLIENT, UpgradeConfig(timeout=0.02)).upgrade_stream(one, Role.INITIATOR)


async def test_a_cancelled_upgrade_gives_the_stream_back() -> None:
    one, _ = MemoryStream.pair()
    upgrade = asyncio.create_task(Upgrader(CLIENT).upgrade_stream(one, Role.INITIATOR))
    await asyncio.sleep(0.01)
    upgrade.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upgrade
    await asyncio.sleep(0.01)
    assert one.was_reset


async def test_a_failed_inbound_upgrade_that_nobody_awaits_is_quiet() -> None:
    loop = asyncio.get_running_loop()
    upgrader = Upgrader(SERVER)
    over: list[UpgradeProtocol] = []

    def accept() -> UpgradeProtocol:
        protocol = upgrader.protocol(Role.RESPONDER)
        protocol.add_done_callback(over.append)
        return protocol

    listener = await loop.create_server(accept, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
    writer.write(b"GET / HTTP/1.1\r\n\r\n" * 10)
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    listener.close()
    assert len(over) == 1
    assert over[0].transport is not None
    assert over[0].transport.is_closing()
