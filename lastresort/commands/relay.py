"""``lastresort relay``: a circuit relay v2 with a roster of who is there."""

from __future__ import annotations

import argparse
from dataclasses import replace

from browser_demo.stopping import stop_requested
from lastresort.commands.options import SubParsers, add_identity, limit, listen_address, new_parser
from lastresort.identity import load_identity
from lastresort.output import Output
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.presence import PresenceService
from signalling.libp2p.aio.relay_service import RelayService
from signalling.libp2p.host_config import RelayConfig
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.presence import PresenceEntry

__all__ = ["add_parser", "run"]

EPILOG = """examples:
  lastresort relay                                          on this machine only
  lastresort relay --listen /ip4/0.0.0.0/tcp/4001 \\
                   --listen /ip4/0.0.0.0/tcp/4002/ws        for everybody, browsers included
  lastresort relay --public --identity relay.key            with the tight limits of a public relay

A relay introduces peers to each other and carries their signalling. It sees who talks to whom, and only ciphertext.
Peers use one of the addresses it prints: lastresort peer --relay ADDRESS

events with --json: listening {address}, ready {peer}, connection {peer, address}, disconnection {peer},
  joined {peer, name, kind}, left {peer} (on and off the roster), stopped {}
"""


def add_parser(commands: SubParsers, help: str) -> None:
    """Add ``relay`` to the command line."""
    parser = new_parser(
        commands,
        "relay",
        help=help,
        description="Run a libp2p circuit relay (v2) with a roster of the peers that want to be found.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "--listen",
        action="append",
        type=listen_address,
        metavar="MULTIADDR",
        help="where to listen; may be given often (default: /ip4/127.0.0.1/tcp/4001 and /ip4/127.0.0.1/tcp/4002/ws)",
    )
    add_identity(parser)
    parser.add_argument(
        "--public", action="store_true", help="limits for the open Internet: 2 minutes, 128 KiB a circuit"
    )
    parser.add_argument("--circuit-seconds", type=limit, metavar="S", help="cut a circuit after S seconds, 0 for never")
    parser.add_argument("--circuit-bytes", type=limit, metavar="N", help="cut it after N bytes one way, 0 for never")
    parser.set_defaults(run=run)


def relay_config(options: argparse.Namespace) -> RelayConfig:
    """Return the limits that the options ask for."""
    config = RelayConfig() if options.public else RelayConfig.private()
    if options.circuit_seconds is not None:
        config = replace(config, circuit_duration=options.circuit_seconds)
    if options.circuit_bytes is not None:
        config = replace(config, circuit_data=options.circuit_bytes)
    return config


async def run(options: argparse.Namespace, output: Output) -> int:
    """Serve until Ctrl-C."""
    listen = options.listen or [Multiaddr("/ip4/127.0.0.1/tcp/4001"), Multiaddr("/ip4/127.0.0.1/tcp/4002/ws")]
    with stop_requested() as stop:
        async with Host(load_identity(options.identity)) as host:
            service = RelayService(host, relay_config(options))
            presence = PresenceService(host)
            for address in listen:
                await host.listen(address)
            for address in host.addresses():
                output.event("listening", f"listening on {address}", address=str(address))
            _report_connections(host, output)
            _report_roster(presence, output)
            output.event("ready", f"relay {host.peer_id} is up, Ctrl-C stops it", peer=str(host.peer_id))
            await stop.wait()
            await presence.close()
            await service.close()
    output.event("stopped")
    return 0


def _report_connections(host: Host, output: Output) -> None:
    host.on(
        "connection",
        lambda connection: output.event(
            "connection",
            f"+ {connection.remote_peer}",
            peer=str(connection.remote_peer),
            address=str(connection.remote_address),
        ),
    )
    host.on(
        "disconnection",
        lambda connection: output.event(
            "disconnection", f"- {connection.remote_peer}", peer=str(connection.remote_peer)
        ),
    )


def _report_roster(presence: PresenceService, output: Output) -> None:
    def joined(entry: PresenceEntry) -> None:
        fields = {"peer": str(entry.peer), "name": entry.name, "kind": entry.kind.label}
        output.event("joined", f"  {entry.peer} is {entry.name!r} on the roster", **fields)

    presence.on("joined", joined)
    presence.on("left", lambda peer: output.event("left", peer=str(peer)))
