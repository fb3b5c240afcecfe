"""Two programs find a direct UDP path to each other; a TCP connection carries only their descriptions and candidates.

On one machine:    python examples/ice_connect.py listen --port 9999
On the other one:  python examples/ice_connect.py connect HOST 9999 --stun stun.example.org:3478
"""

from __future__ import annotations

import argparse
import asyncio

import ice


async def talk(path: ice.Path, name: str) -> None:
    """Say hello, hear the peer, and tell over which addresses."""
    pair = path.selected_pair
    assert pair is not None
    ours, theirs = pair.local, pair.remote
    print(f"direct path: {ours.shown_address} ({ours.type}) -> {theirs.shown_address} ({theirs.type})")
    for number in range(3):
        await path.send(f"hello {number} from the {name}".encode())
    for _ in range(3):
        print("received:", (await path.receive()).decode())


async def listen(port: int, config: ice.IceConfig) -> None:
    """Wait for one peer."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        exchange = ice.StreamExchange(reader, writer)
        async with ice.connect(exchange, role=ice.Role.CONTROLLED, config=config) as path:
            await talk(path, "listener")
        writer.close()
        done.set()

    server = await asyncio.start_server(serve, "localhost" if config.include_loopback else None, port)
    async with server:
        print(f"signalling on TCP port {server.sockets[0].getsockname()[1]}", flush=True)
        await done.wait()


async def connect(host: str, port: int, config: ice.IceConfig) -> None:
    """Find the way to the peer that listens at ``host``."""
    reader, writer = await asyncio.open_connection(host, port)
    exchange = ice.StreamExchange(reader, writer)
    async with ice.connect(exchange, role=ice.Role.CONTROLLING, config=config) as path:
        await talk(path, "caller")
    writer.close()
    await writer.wait_closed()


def main() -> None:
    """Read the command line and run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    listener = commands.add_parser("listen", help="wait for one peer")
    listener.add_argument("--port", type=int, default=0, help="TCP port for the signalling (default: any)")
    caller = commands.add_parser("connect", help="call a peer that listens")
    caller.add_argument("host")
    caller.add_argument("port", type=int)
    for command in (listener, caller):
        command.add_argument("--stun", action="append", default=[], metavar="HOST[:PORT]", help="STUN server to ask")
        command.add_argument("--loopback", action="store_true", help="stay on this machine")
    options = parser.parse_args()
    config = ice.IceConfig(stun_servers=options.stun, include_loopback=options.loopback)
    try:
        if options.command == "listen":
            asyncio.run(listen(options.port, config))
        else:
            asyncio.run(connect(options.host, options.port, config))
    except (OSError, ice.IceError) as error:
        raise SystemExit(f"no path: {error}") from None


if __name__ == "__main__":
    main()
