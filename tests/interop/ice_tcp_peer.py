"""A program for namespaces: an ICE session over whatever works, told to the other side through a hub, as JSON.

python -m tests.interop.ice_tcp_peer hub HOST PORT
python -m tests.interop.ice_tcp_peer controlling|controlled HUB PORT [STUN-SERVER]
"""

from __future__ import annotations

import asyncio
import json
import sys

import ice


def say(line: str) -> None:
    """Tell whoever started this program."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def hub(host: str, port: int) -> None:
    """Join the two connections that come first."""
    waiting: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await waiting.put((reader, writer))

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    async with await asyncio.start_server(accept, host, port):
        say("ready")
        one, other = await waiting.get(), await waiting.get()
        await asyncio.gather(copy(one[0], other[1]), copy(other[0], one[1]), return_exceptions=True)
        await asyncio.Event().wait()


async def peer(role: str, host: str, port: int, *servers: str) -> None:
    """Connect, exchange ten datagrams, and say how."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection(host, port)
    config = ice.IceConfig(stun_servers=servers, include_ipv6=False)
    started = loop.time()
    exchange = ice.StreamExchange(reader, writer)
    async with asyncio.timeout(60), ice.connect(exchange, role=ice.Role(role), config=config) as path:
        seconds = loop.time() - started
        for number in range(10):
            await path.send(bytes([128, number]))
        received = [await path.receive() for _ in range(10)]
        pair = path.selected_pair
        assert pair is not None
        kind = pair.local.tcp_type
        outcome = {
            "transport": pair.local.transport,
            "kind": None if kind is None else kind.value,
            "local": str(pair.local.address),
            "remote": str(pair.remote.address),
            "seconds": round(seconds, 3),
            "received": len(received),
        }
        say(json.dumps(outcome))
        await asyncio.sleep(1.0)  # Let the other side have its answers.
    writer.close()


if __name__ == "__main__":
    what, where, number, *rest = sys.argv[1:]
    asyncio.run(hub(where, int(number)) if what == "hub" else peer(what, where, int(number), *rest))
