from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.presence import PresenceClient, PresenceService, _Writer
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.presence import (
    PROTOCOL,
    Announcement,
    PeerKind,
    PresenceConfig,
    PresenceEntry,
    Request,
    encode_request,
)

QUICK = PresenceConfig(push_interval=0.01, first_retry=0.02, last_retry=0.05)


@asynccontextmanager
async def relay(key: PrivateKey | None = None, port: int = 0) -> AsyncIterator[tuple[PresenceService, Multiaddr]]:
    async with Host(key or PrivateKey.generate()) as host:
        service = PresenceService(host, QUICK)
        await host.listen(f"/ip4/127.0.0.1/tcp/{port}")
        yield service, host.addresses()[0]
        await service.close()


class Watcher:
    """A subscriber, and a way to wait for what it is told."""

    def __init__(self, host: Host, address: Multiaddr, name: str | None = None) -> None:
        self.client = PresenceClient(host, address, name=name, kind=PeerKind.BROWSER, config=QUICK)
        self.rosters: asyncio.Queue[tuple[PresenceEntry, ...]] = asyncio.Queue()
        self.client.on("roster", self.rosters.put_nowait)
        self.client.start()

    async def until(self, *names: str) -> tuple[PresenceEntry, ...]:
        async with asyncio.timeout(5):
            while True:
                roster = await self.rosters.get()
                if sorted(entry.name for entry in roster) == sorted(names):
                    return roster


async def test_peers_see_each_other_come_and_go() -> None:
    async with relay() as (service, address), Host(PrivateKey.generate()) as one, Host(PrivateKey.generate()) as two:
        told: list[str] = []
        service.on("joined", lambda entry: told.append(f"+{entry.name}"))
        service.on("left", lambda peer: told.append("-bob" if peer == two.peer_id else "-?"))
        ada = Watcher(one, address, "ada")
        await ada.until("ada")
        bob = Watcher(two, address, "bob")
        roster = await ada.until("ada", "bob")
        assert {entry.peer for entry in roster} == {one.peer_id, two.peer_id}
        assert {entry.kind for entry in roster} == {PeerKind.BROWSER}

        await bob.client.close()

        await ada.until("ada")
        assert [entry.name for entry in service.roster] == ["ada"]
        assert told == ["+ada", "+bob", "-bob"]
        await ada.client.close()


async def test_entry_leaves_when_its_connection_does() -> None:
    async with relay() as (_, address), Host(PrivateKey.generate()) as one:
        ada = Watcher(one, address)
        async with Host(PrivateKey.generate()) as two:
            connection = await two.connect(address)
            stream = await two.new_stream(connection, [PROTOCOL])
            await stream.write_delimited(encode_request(Request(Announcement("bob"))))
            await ada.until("bob")
            await connection.close()
            await ada.until()

        await ada.client.close()


async def test_a_client_joins_again_when_the_relay_comes_back() -> None:
    key = PrivateKey.generate()
    async with Host(PrivateKey.generate()) as one:
        async with relay(key) as (_, address):
            port = int(str(address.value_for("tcp")))
            ada = Watcher(one, address, "ada")
            await ada.until("ada")
        await ada.until()
        assert ada.client.roster == ()

        async with relay(key, port):
            await ada.until("ada")
            await ada.client.close()


class StuckStream:
    """A stream whose reader takes one message and then nothing until it is let go."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.gate = asyncio.Event()

    async def write_delimited(self, data: bytes) -> None:
        self.written.append(data)
        await self.gate.wait()

    async def reset(self) -> None:
        self.gate.set()


async def test_a_subscriber_that_does_not_read_costs_one_roster() -> None:
    stream = StuckStream()
    writer = _Writer(cast(Stream, stream))

    for number in range(100):
        writer.offer(b"%d" % number)
        await asyncio.sleep(0)
    stream.gate.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert stream.written == [b"0", b"99"]
    await writer.reset()


async def test_junk_is_answered_with_a_reset() -> None:
    async with relay() as (service, address), Host(PrivateKey.generate()) as one:
        stream = await one.new_stream(await one.connect(address), [PROTOCOL])
        await stream.write_delimited(b"\xff\xff\xff")
        try:
            async with asyncio.timeout(5):
                assert await stream.read() == b""
        except ConnectionError:
            pass
        assert service.roster == ()
