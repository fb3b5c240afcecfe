"""Two libp2p peers meet through a circuit relay.

Everything in one process, for a look:

    python examples/libp2p_circuit.py

Each part in a process of its own, as in real life:

    python examples/libp2p_circuit.py relay
    python examples/libp2p_circuit.py listen RELAY_ADDRESS
    python examples/libp2p_circuit.py call CIRCUIT_ADDRESS
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib

from signalling.errors import SignallingError
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.relay_service import RelayService
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.host_config import RelayConfig
from signalling.libp2p.keys import PrivateKey

GREETING = "/example/greeting/1.0.0"


async def greet(stream: Stream) -> None:
    """Answer one line with one line."""
    name = (await stream.read()).decode(errors="replace")
    await stream.write(f"hello {name}, this came through a relay that cannot read it".encode())


async def relay() -> None:
    async with Host(PrivateKey.generate()) as host:
        await host.listen("/ip4/127.0.0.1/tcp/0")
        service = RelayService(host, RelayConfig.private())
        print("relay at", host.addresses()[0], flush=True)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await service.close()


async def listen(relay_address: str) -> None:
    async with Host(PrivateKey.generate()) as host:
        # The relay's connections are limited: only protocols that say so run on them.
        host.handle(GREETING, greet, allow_limited=True)
        await host.reserve(relay_address)
        print("reachable at", host.addresses()[0], flush=True)
        await asyncio.get_running_loop().create_future()


async def call(circuit_address: str) -> None:
    async with Host(PrivateKey.generate()) as host:
        connection = await host.connect(circuit_address)
        stream = await host.new_stream(connection, [GREETING], allow_limited=True)
        await stream.write(b"listener")
        print("limit:", connection.limit)
        print("answer:", (await stream.read()).decode(), flush=True)


async def everything() -> None:
    async with Host(PrivateKey.generate()) as relay_host, Host(PrivateKey.generate()) as listener:
        await relay_host.listen("/ip4/127.0.0.1/tcp/0")
        service = RelayService(relay_host)
        listener.handle(GREETING, greet, allow_limited=True)
        await listener.reserve(relay_host.addresses()[0])
        await call(str(listener.addresses()[0]))
        await service.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", nargs="?", choices=["relay", "listen", "call"])
    parser.add_argument("address", nargs="?")
    options = parser.parse_args()
    match options.role, options.address:
        case None, None:
            work = everything()
        case "relay", None:
            work = relay()
        case "listen", str(address):
            work = listen(address)
        case "call", str(address):
            work = call(address)
        case _:
            parser.error("relay takes no address, listen and call take one")
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(work)
    except SignallingError as error:
        raise SystemExit(f"no connection: {error}") from None


if __name__ == "__main__":
    main()
