"""The options of the demo and what they do; ``python -m browser_demo`` and ``lastresort demo`` both run this."""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import socket
import sys
from pathlib import Path

from browser_demo.check import CheckReport, run_check
from browser_demo.config import DemoConfig, PeerSettings, ServerConfig
from browser_demo.errors import DemoError
from browser_demo.namespace import rerun_in_namespace
from browser_demo.stack import Demo, outside_address
from browser_demo.stopping import stop_requested

__all__ = ["DESCRIPTION", "EPILOG", "add_options", "folder", "run_demo"]

DESCRIPTION = """\
Start a relay, a STUN server, a gateway, a Python peer and a web page, all on this machine, and print the page's URL.
On the page, connect to the peer and watch the connection leave the relay."""

EPILOG = """examples:
  scripts/demo                          the page at http://127.0.0.1:8080/
  scripts/demo --port 0                 on a free port
  scripts/demo --host 0.0.0.0           for the browsers of the local network, too
  scripts/demo --check                  the same trip with a headless Chromium; exit status 0 if a direct path
                                        carried chat and a 5 MB file each way
  scripts/demo --check --screenshot page.png

A further peer for the page: lastresort peer --relay ADDRESS, with the relay's address that is printed.

events with --json: ready {url, relay, peer, stun}, checked {ok, ...}, error {message}, stopped {}
"""

PORTS_TO_TRY = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the demo's own options to a parser that has ``--json`` already."""
    parser.add_argument("--host", type=_ip_literal, default="127.0.0.1", help="the address to bind to (%(default)s)")
    parser.add_argument(
        "--port", type=_port, default=None, help="the port of the page, 0 for any (8080, or the next one that is free)"
    )
    parser.add_argument("--name", default=f"python@{socket.gethostname()}", help="the peer's name (%(default)s)")
    parser.add_argument("--share", type=folder, metavar="DIR", help="the peer shares this folder's files (a sample)")
    parser.add_argument("--check", action="store_true", help="make the trip headless and exit; needs Chromium")
    parser.add_argument("--screenshot", type=Path, metavar="FILE", help="with --check: save a picture of the page")


def _ip_literal(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no IP address") from None


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port: 0 to 65535")
    return int(text)


def folder(text: str) -> Path:
    """Parse the path of a folder that is there, for ``argparse``."""
    path = Path(text).expanduser()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a folder")
    return path


def demo_config(options: argparse.Namespace, port: int) -> DemoConfig:
    """Return the configuration that the options ask for."""
    peer = PeerSettings(name=options.name, share=options.share)
    return DemoConfig(server=ServerConfig(host=options.host, port=port), peer=peer)


async def run_demo(options: argparse.Namespace) -> int:
    """Run the demo until Ctrl-C, or the check; return the exit status."""
    if options.check or options.screenshot:
        return await _check(options)
    if outside_address() is None:
        _tell_error(
            options, "this machine has only loopback addresses, and browsers offer none of those: no direct path"
        )
    with stop_requested() as stop:
        async with _demo(options) as demo:
            _announce(options, demo)
            await stop.wait()
    _tell(options, "stopped", "\nstopped")
    return 0


def _demo(options: argparse.Namespace) -> Demo:
    """Return the demo for the port asked for, or for the first free one from 8080 on."""
    ports = range(8080, 8080 + PORTS_TO_TRY) if options.port is None else (options.port,)
    return Demo(demo_config(options, next((port for port in ports if _is_free(options.host, port)), ports[0])))


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


async def _check(options: argparse.Namespace) -> int:
    if outside_address() is None:
        return await rerun_in_namespace(sys.argv[1:])
    config = demo_config(options, options.port or 0)
    try:
        report = await run_check(config, screenshot=options.screenshot)
    except DemoError as error:
        if options.json:
            _tell(options, "checked", "", ok=False, message=str(error))
        else:
            _tell_error(options, f"check failed: {error}")
        return 1
    _tell(options, "checked", _words(report), ok=True, **report.to_json())
    return 0


def _announce(options: argparse.Namespace, demo: Demo) -> None:
    lines = [
        "",
        f"  Open   {demo.url}",
        "",
        f"  relay  {demo.relay_address}",
        f"  STUN   {', '.join(demo.stun_urls)}",
        f"  peer   {demo.config.peer.name}  {demo.peer.peer_id}",
        "",
        "  One more peer:  lastresort peer --relay " + str(demo.relay_address),
        "  Ctrl-C stops everything.",
    ]
    fields = {"url": demo.url, "relay": str(demo.relay_address), "peer": str(demo.peer.peer_id)}
    _tell(options, "ready", "\n".join(lines), **fields, stun=list(demo.stun_urls))


def _words(report: CheckReport) -> str:
    rows = [
        ("relayed signalling", f"{report.signalling_ms:.0f} ms"),
        ("checks", f"{report.checks_ms:.0f} ms"),
        ("secured, direct", f"{report.direct_ms:.0f} ms"),
        ("page's pair", f"{report.local} <-> {report.remote} ({report.types})"),
        ("chat", f"{report.chat_sent!r} -> {report.chat_received!r}"),
        *(
            (f"file {direction}", f"{size:,} bytes, SHA-256 {digest[:16]}… at both ends")
            for direction, size, digest in report.files
        ),
        ("on the path", f"{report.path_sent:,} bytes sent, {report.path_received:,} received by the page"),
        ("through the relay", f"{report.relay_bytes:,} bytes, signalling included"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join([*(f"{name:>{width}}  {value}" for name, value in rows), "direct path: yes"])


def _tell(options: argparse.Namespace, event: str, text: str, **fields: object) -> None:
    line = json.dumps({"event": event, **fields}) if options.json else text
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _tell_error(options: argparse.Namespace, message: str) -> None:
    if options.json:
        _tell(options, "error", "", message=message)
    else:
        sys.stderr.write(f"lastresort: {message}{os.linesep}")
