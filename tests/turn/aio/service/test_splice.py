from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from stun.address import TransportAddress
from stun.aio.tcp import TcpConnection, TcpListener
from stun.config import StreamConfig
from turn.aio.service.splice import PeerEnd, bind_tcp, dial, splice


async def test_a_peer_that_does_not_read_does_not_hold_a_closed_connection() -> None:
    gone = asyncio.Event()
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        held = bind_tcp(TransportAddress("127.0.0.1", 0), dialling=False)
        local = TransportAddress(*held.getsockname())
        end = PeerEnd(lambda made, peer: None, lambda lost: gone.set(), linger=0.05)
        await dial(local, TransportAddress(*deaf.getsockname()), end)
        assert end.transport is not None
        while not end.transport.get_write_buffer_size():
            end.write(bytes(16384))
        end.close()
        end.close()
        await asyncio.wait_for(gone.wait(), 5)
        held.close()


@dataclass
class Ends:
    """Both outer ends of a splice, and what tells that its two sockets are gone."""

    client: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    peer: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    gone: asyncio.Event


@asynccontextmanager
async def spliced(half_closed: float) -> AsyncIterator[Ends]:
    peer_gone, client_gone = asyncio.Event(), asyncio.Event()
    opened: asyncio.Queue[TcpConnection] = asyncio.Queue()
    accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    listener = await TcpListener.open(
        TransportAddress("127.0.0.1", 0),
        opened.put_nowait,
        lambda data, one: None,
        lambda one: client_gone.set(),
        StreamConfig(),
    )
    peers = await asyncio.start_server(lambda *pair: accepted.put_nowait(pair), "127.0.0.1", 0)
    held = bind_tcp(TransportAddress("127.0.0.1", 0), dialling=False)
    end = PeerEnd(lambda made, peer: None, lambda lost: peer_gone.set(), linger=5)
    await dial(TransportAddress(*held.getsockname()), TransportAddress(*peers.sockets[0].getsockname()), end)
    client = await asyncio.open_connection(*listener.local)
    splice(await opened.get(), end, b"", lambda size, to_peer: 0.0, half_closed)
    peer = await accepted.get()
    both = asyncio.Event()

    async def wait() -> None:
        await peer_gone.wait()
        await client_gone.wait()
        both.set()

    waiting = asyncio.create_task(wait())
    try:
        yield Ends(client, peer, both)
    finally:
        client[1].close()
        peer[1].close()
        held.close()
        listener.close()
        peers.close()
        await asyncio.wait_for(waiting, 5)


async def test_a_half_closed_connection_carries_the_other_way_and_ends_when_both_have_finished() -> None:
    async with spliced(half_closed=5) as ends:
        ends.client[1].write_eof()
        assert await asyncio.wait_for(ends.peer[0].read(), 5) == b""
        ends.peer[1].write(b"the answer")
        assert await asyncio.wait_for(ends.client[0].readexactly(10), 5) == b"the answer"
        assert not ends.gone.is_set()
        ends.peer[1].write_eof()
        assert await asyncio.wait_for(ends.client[0].read(), 5) == b""
        await asyncio.wait_for(ends.gone.wait(), 1)  # neither end was closed from outside


@pytest.mark.parametrize("first", ["client", "peer"])
async def test_a_half_closed_connection_that_falls_silent_is_closed(first: str) -> None:
    async with spliced(half_closed=0.2) as ends:
        closing, other = (ends.client, ends.peer) if first == "client" else (ends.peer, ends.client)
        closing[1].write_eof()
        assert await asyncio.wait_for(other[0].read(), 5) == b""
        for _ in range(6):  # longer than the limit in all, but never silent for so long
            await asyncio.sleep(0.05)
            other[1].write(b"x")
        assert not ends.gone.is_set()
        await asyncio.wait_for(ends.gone.wait(), 5)
        assert await asyncio.wait_for(closing[0].read(), 5) == b"xxxxxx"


async def test_an_open_connection_may_be_silent() -> None:
    async with spliced(half_closed=0.05) as ends:
        await asyncio.sleep(0.2)
        ends.client[1].write(b"x")
        assert await asyncio.wait_for(ends.peer[0].readexactly(1), 5) == b"x"
