from __future__ import annotations

import asyncio
import socket

from stun.address import TransportAddress
from turn.aio.server_splice import PeerEnd, bind_tcp, dial


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
