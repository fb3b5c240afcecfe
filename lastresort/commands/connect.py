"""``lastresort connect``: standard input and output, piped to a peer."""

from __future__ import annotations

import argparse
import sys

from browser_demo.peer.echo import PROTOCOL as ECHO_PROTOCOL
from lastresort.commands.ice_options import TURN_EPILOG, add_ice, ice_config
from lastresort.commands.options import SubParsers, add_identity, new_parser, peer_address, pings
from lastresort.commands.peer import describe
from lastresort.commands.pipe import PROTOCOL as PIPE_PROTOCOL
from lastresort.commands.pipe import StandardStreams, pipe
from lastresort.identity import load_identity
from lastresort.output import Output
from signalling.libp2p.aio.host import Host
from webrtc_bridge.config import PeerConfig, WebRtcConfig
from webrtc_bridge.transport import WebRtcTransport

__all__ = ["add_parser", "run"]

EPILOG = f"""examples:
  echo hello | lastresort connect /ip4/127.0.0.1/tcp/4001/p2p/12D3KooW…       over TCP
  echo hello | lastresort connect /ip4/…/p2p/RELAY/p2p-circuit/p2p/PEER         through a relay
  echo hello | lastresort connect /ip4/…/p2p/RELAY/p2p-circuit/webrtc/p2p/PEER  met at a relay, then direct
  lastresort connect --ping ADDRESS                                             round-trip times

The peer's addresses are what `lastresort peer` prints. What is connected at the other end is its pipe
(lastresort peer --pipe) if it has one, else its echo.

{TURN_EPILOG}
With --json the events go to standard error, because standard output carries the peer's bytes:
  connected {{peer, address, local, remote, protocol}}, closed {{sent, received}}, pong {{milliseconds}},
  error {{message}}
"""


def add_parser(commands: SubParsers, help: str) -> None:
    """Add ``connect`` to the command line."""
    parser = new_parser(
        commands,
        "connect",
        help=help,
        description="Connect to a peer over TCP, WebSocket, a relay or WebRTC, and pipe standard input and output.",
        epilog=EPILOG,
    )
    parser.add_argument("address", type=peer_address, metavar="ADDRESS", help="a multiaddr that ends in /p2p/<peer id>")
    parser.add_argument(
        "--protocol",
        action="append",
        metavar="ID",
        help="ask for this protocol; may be given often, in order of preference",
    )
    parser.add_argument("--ping", type=pings, nargs="?", const=4, metavar="N", help="only send N pings (4)")
    add_ice(parser)
    add_identity(parser)
    parser.set_defaults(run=run)


async def run(options: argparse.Namespace, output: Output) -> int:
    """Connect, pipe, and return when the peer has ended."""
    if options.ping is None:
        output = Output(as_json=output.as_json, stream=sys.stderr)
    ice = ice_config(options)
    async with Host(load_identity(options.identity)) as host:
        host.add_transport(WebRtcTransport(host, WebRtcConfig(peer=PeerConfig(ice=ice))))
        connection = await host.connect(options.address)
        if options.ping is not None:
            for _ in range(options.ping):
                milliseconds = round(1000 * await host.ping(connection), 3)
                output.event("pong", f"{milliseconds:.1f} ms", milliseconds=milliseconds)
            return 0
        protocols = options.protocol or [PIPE_PROTOCOL, ECHO_PROTOCOL]
        stream = await host.new_stream(connection, protocols, allow_limited=True)
        fields = describe(connection)
        kind = "relayed" if connection.limit is not None else "direct"
        output.event("connected", f"connected, {kind}: {stream.protocol}", protocol=stream.protocol, **fields)
        sent, received = await pipe(stream, StandardStreams())
        output.event("closed", f"closed: {sent} bytes sent, {received} received", sent=sent, received=received)
    return 0
