"""A server that any number of peers reach on one port; a TCP connection each carries only their descriptions.

The server:   python examples/ice_mux_server.py --signalling-port 9999 --port 3478
A peer:       python examples/ice_connect.py connect HOST 9999
"""

from __future__ import annotations

import argparse
import asyncio

import ice


async def serve(mux: ice.Mux, port: int, config: ice.IceConfig) -> None:
    """Answer peers, each in a session of its own at the mux."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        exchange = ice.StreamExchange(reader, writer)
        try:
            async with ice.connect(exchange, role=ice.Role.CONTROLLED, config=config, network=mux) as path:
                print(f"a peer is there: {mux.stats().sessions} at port {mux.port}", flush=True)
                while True:
                    data = await path.receive()
                    await path.send(data.replace(b"caller", b"listener"))
        except ice.IceError as error:
            print(f"a peer is gone: {error}", flush=True)
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "localhost" if config.include_loopback else None, port)
    async with server:
        print(f"signalling on TCP port {server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


async def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signalling-port", type=int, default=0, help="TCP port for the signalling (default: any)")
    parser.add_argument("--port", type=int, default=0, help="port, UDP and TCP, that all sessions share (default: any)")
    parser.add_argument("--loopback", action="store_true", help="stay on this machine")
    options = parser.parse_args()
    config = ice.IceConfig(include_loopback=options.loopback)
    hosts = ["127.0.0.1"] if options.loopback else None
    async with ice.Mux.open(options.port, hosts) as mux:
        await serve(mux, options.signalling_port, config)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
