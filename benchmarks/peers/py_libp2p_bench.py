"""py-libp2p's side of ``benchmarks/libp2p_yamux.py``: the same work between two hosts of its own in one process.

Run with an interpreter that has py-libp2p: ``python py_libp2p_bench.py BYTES STREAMS``; prints one JSON object.
BYTES is a multiple of 65536.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import sys
import time

import multiaddr
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.peerinfo import info_from_p2p_addr

SINK = "/bench/sink/1.0.0"
ECHO = "/bench/echo/1.0.0"
CHUNK = 64 * 1024


async def sink(stream) -> None:
    """Read as many bytes as the first eight announce, then answer with one byte."""
    left = int.from_bytes(await stream.read(8), "big")
    while left:
        left -= len(await stream.read(CHUNK))
    await stream.write(b"!")
    await stream.close()


async def echo(stream) -> None:
    """Send back 32 bytes."""
    await stream.write(await stream.read(32))
    await stream.close()


async def bulk(host, peer, total: int) -> float:
    """Return bytes/s over one stream, until the reader has told that it has them all."""
    stream = await host.new_stream(peer, [SINK])
    data = bytes(CHUNK)
    await stream.write(total.to_bytes(8, "big"))
    started = time.perf_counter()
    for _ in range(total // CHUNK):
        await stream.write(data)
    assert await stream.read(1) == b"!"
    seconds = time.perf_counter() - started
    await stream.close()
    return total / seconds


async def open_streams(host, peer, total: int) -> float:
    """Return streams/s: open, negotiate, 32 bytes there and back, close; one after the other."""
    payload = bytes(range(32))
    started = time.perf_counter()
    for _ in range(total):
        stream = await host.new_stream(peer, [ECHO])
        await stream.write(payload)
        assert await stream.read(32) == payload
        await stream.close()
    return total / (time.perf_counter() - started)


async def main(total_bytes: int, total_streams: int) -> None:
    """Connect two hosts over TCP on loopback and measure."""
    listen = multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")
    server = new_host(key_pair=create_new_key_pair())
    client = new_host(key_pair=create_new_key_pair())
    server.set_stream_handler(SINK, sink)
    server.set_stream_handler(ECHO, echo)
    async with server.run(listen_addrs=[listen]), client.run(listen_addrs=[]):
        address = server.get_addrs()[0]
        await client.connect(info_from_p2p_addr(address))
        peer = server.get_id()
        await trio.sleep(1.0)  # let identify finish
        await open_streams(client, peer, 20)
        figures = {
            "streams": await open_streams(client, peer, total_streams),
            "bulk": await bulk(client, peer, total_bytes),
            "version": importlib.metadata.version("libp2p"),
        }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]))
