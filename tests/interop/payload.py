"""The test protocols that the js peer speaks too: echo, sink and source (see js/protocols.mjs), on our host."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

from signalling.libp2p.aio.connection import Connection
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.peer_id import PeerId

ECHO = "/lastresort/echo/1.0.0"
SINK = "/lastresort/sink/1.0.0"
SOURCE = "/lastresort/source/1.0.0"

MEGABYTES = 1_000_000
CHUNK = 256 * 1024


def pattern(length: int) -> bytes:
    """Return the bytes that both sides know."""
    row = bytes(range(256))
    blocks = []
    for block in range(0, length, 256):
        blocks.append(row.translate(_xor(((block >> 8) ^ (block >> 16)) & 0xFF)))
    return b"".join(blocks)[:length]


def _xor(key: int) -> bytes:
    return bytes(value ^ key for value in range(256))


async def _echo(stream: Stream) -> None:
    while data := await stream.read():
        await stream.write(data)


async def _sink(stream: Stream) -> None:
    digest, length = hashlib.sha256(), 0
    while data := await stream.read():
        digest.update(data)
        length += len(data)
    await stream.write(length.to_bytes(8) + digest.digest())


async def _source(stream: Stream) -> None:
    await write_all(stream, pattern(int.from_bytes(await stream.read_exactly(8))))


def serve(host: Host, *, allow_limited: bool = False) -> None:
    """Serve the three protocols."""
    for protocol, handler in ((ECHO, _echo), (SINK, _sink), (SOURCE, _source)):
        host.handle(protocol, handler, allow_limited)


async def eventually(check: Callable[[], object], timeout: float = 20.0) -> None:
    """Return once ``check`` is true: for what happens in another process and tells nobody here."""
    async with asyncio.timeout(timeout):
        while True:
            if check():
                return
            await asyncio.sleep(0.01)


async def write_all(stream: Stream, data: bytes) -> None:
    for start in range(0, len(data), CHUNK):
        await stream.write(data[start : start + CHUNK])


async def read_all(stream: Stream) -> bytes:
    parts = []
    while data := await stream.read():
        parts.append(data)
    return b"".join(parts)


async def echo(host: Host, target: PeerId | Connection, count: int, *, allow_limited: bool = False) -> bool:
    """Send ``count`` bytes to the echo protocol; return whether they came back."""
    stream = await host.new_stream(target, [ECHO], allow_limited)
    data = pattern(count)
    answer = asyncio.ensure_future(read_all(stream))
    try:
        await write_all(stream, data)
        await stream.close_write()
        return await answer == data
    finally:
        answer.cancel()
        await asyncio.gather(answer, return_exceptions=True)
        await stream.close()


async def send(host: Host, target: PeerId | Connection, count: int) -> bool:
    """Send ``count`` bytes to the sink protocol; return whether it got them."""
    stream = await host.new_stream(target, [SINK])
    data = pattern(count)
    await write_all(stream, data)
    await stream.close_write()
    answer = await read_all(stream)
    await stream.close()
    return answer == count.to_bytes(8) + hashlib.sha256(data).digest()


async def fetch(host: Host, target: PeerId | Connection, count: int) -> bool:
    """Take ``count`` bytes from the source protocol; return whether they are the pattern."""
    stream = await host.new_stream(target, [SOURCE])
    await stream.write(count.to_bytes(8))
    answer = await read_all(stream)
    await stream.close()
    return answer == pattern(count)
