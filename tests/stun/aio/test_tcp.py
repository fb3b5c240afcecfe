"""The TCP connections beneath clients and servers, on real sockets."""

from __future__ import annotations

import asyncio
import socket

from stun.address import TransportAddress
from stun.aio.tcp import TcpConnection, TcpListener
from stun.config import StreamConfig


async def test_a_client_that_does_not_read_does_not_hold_a_closed_connection() -> None:
    opened: asyncio.Queue[TcpConnection] = asyncio.Queue()
    gone = asyncio.Event()
    listener = await TcpListener.open(
        TransportAddress("127.0.0.1", 0),
        opened.put_nowait,
        lambda data, connection: None,
        lambda connection: gone.set(),
        StreamConfig(linger=0.05),
    )
    with socket.socket() as deaf:
        deaf.setblocking(False)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.get_running_loop().sock_connect(deaf, listener.local)
        connection = await opened.get()
        transport = connection.transport
        assert transport is not None
        while not transport.get_write_buffer_size():
            assert connection.offer(bytes(16384))
        connection.close()
        connection.close()
        await asyncio.wait_for(gone.wait(), 5)
    listener.close()
