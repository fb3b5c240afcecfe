"""``lastresort peer``: a native peer that prints its addresses, echoes, chats and shares files."""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys

from browser_demo.cli import folder
from browser_demo.config import PeerSettings
from browser_demo.peer.files import Transferred
from browser_demo.peer.native import NativePeer, selected_pair
from browser_demo.stopping import stop_requested
from lastresort.commands.ice_options import TURN_EPILOG, add_ice, ice_config
from lastresort.commands.options import SubParsers, add_identity, listen_address, new_parser, peer_address
from lastresort.commands.pipe import PROTOCOL as PIPE_PROTOCOL
from lastresort.commands.pipe import StandardStreams, pipe
from lastresort.identity import load_identity
from lastresort.output import Output, one_line
from signalling.libp2p.aio.connection import Connection
from signalling.libp2p.aio.streams import Stream

__all__ = ["add_parser", "run"]

EPILOG = f"""examples:
  lastresort peer                                        reachable on this machine, over TCP
  lastresort peer --relay /ip4/198.51.100.7/tcp/4001/p2p/12D3KooW…
                                                         reachable from anywhere: it prints a /webrtc address
  lastresort peer --relay … --share ~/public             browsers may ask for the files in that folder
  lastresort peer --relay … --pipe < notes.txt           hand standard input to the first who connects

{TURN_EPILOG}
What it serves: /lastresort/echo/1.0.0, chat and files for the demo page, and ping.

events with --json: listening {{address}}, ready {{peer}}, connection {{peer, address, local, remote}},
  disconnection {{peer}}, chat {{peer, text}}, file {{peer, name, size, sha256, inbound, ok}}, stopped {{}}
With --pipe they go to standard error, because standard output carries the other peer's bytes.
"""


def add_parser(commands: SubParsers, help: str) -> None:
    """Add ``peer`` to the command line."""
    parser = new_parser(
        commands,
        "peer",
        help=help,
        description="Run a native peer. With --relay it is reachable from behind a NAT, and on its roster.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "--relay", type=peer_address, metavar="MULTIADDR", help="the relay to wait at, ending in /p2p/…"
    )
    parser.add_argument(
        "--listen",
        action="append",
        type=listen_address,
        metavar="MULTIADDR",
        help="where to accept direct connections; may be given often (default: /ip4/127.0.0.1/tcp/0)",
    )
    parser.add_argument("--name", default=f"python@{socket.gethostname()}", help="the name on the roster (%(default)s)")
    parser.add_argument("--share", type=folder, metavar="DIR", help="let peers ask for the files in this folder")
    add_ice(parser)
    parser.add_argument("--pipe", action="store_true", help="connect standard input and output to the first who asks")
    add_identity(parser)
    parser.set_defaults(run=run)


def peer_settings(options: argparse.Namespace) -> PeerSettings:
    """Return the settings that the options ask for."""
    listen = tuple(str(address) for address in options.listen or ("/ip4/127.0.0.1/tcp/0",))
    return PeerSettings(name=options.name, share=options.share, listen=listen, ice=ice_config(options))


async def run(options: argparse.Namespace, output: Output) -> int:
    """Serve until Ctrl-C, or until the pipe ends. With a pipe, standard output is the pipe's: events go elsewhere."""
    if options.pipe:
        output = Output(as_json=output.as_json, stream=sys.stderr)
    with stop_requested() as stop:
        peer = NativePeer(load_identity(options.identity), peer_settings(options), options.relay)
        _report(peer, output)
        async with peer:
            if options.pipe:
                _serve_pipe(peer, stop)
            for address in peer.host.addresses():
                output.event("listening", f"listening on {address}", address=str(address))
            output.event("ready", f"peer {peer.peer_id} is up, Ctrl-C stops it", peer=str(peer.peer_id))
            await stop.wait()
    output.event("stopped")
    return 0


def _serve_pipe(peer: NativePeer, stop: asyncio.Event) -> None:
    taken = False

    async def serve(stream: Stream) -> None:
        nonlocal taken
        if taken:
            await stream.reset()
            return
        taken = True
        try:
            await pipe(stream, StandardStreams())
        finally:
            stop.set()

    peer.host.handle(PIPE_PROTOCOL, serve, allow_limited=True)


def _report(peer: NativePeer, output: Output) -> None:
    def connected(connection: Connection) -> None:
        fields = describe(connection)
        path = f" ({fields['local']} <-> {fields['remote']})" if fields["local"] else ""
        output.event("connection", f"+ {connection.remote_peer}{path}", **fields)

    def disconnected(connection: Connection) -> None:
        output.event("disconnection", f"- {connection.remote_peer}", peer=str(connection.remote_peer))

    def moved(file: Transferred) -> None:
        verdict = "hashes match" if file.ok else "HASHES DIFFER"
        arrow = "<" if file.inbound else ">"
        fields = {"peer": str(file.peer), "name": file.name, "size": file.size, "sha256": file.sha256}
        text = f"{arrow} {file.name}, {file.size} bytes, {verdict}"
        output.event("file", text, **fields, inbound=file.inbound, ok=file.ok)

    peer.on("connection", connected)
    peer.on("disconnection", disconnected)
    peer.on(
        "chat", lambda sender, text: output.event("chat", f"{sender}: {one_line(text)}", peer=str(sender), text=text)
    )
    peer.on("file", moved)


def describe(connection: Connection) -> dict[str, str | None]:
    """Return what ``connection`` events tell: the peer, its address, and the ends of the selected pair."""
    pair = selected_pair(connection)
    return {
        "peer": str(connection.remote_peer),
        "address": str(connection.remote_address),
        "local": None if pair is None else f"{pair.local.shown_address}",
        "remote": None if pair is None else f"{pair.remote.shown_address}",
    }
