"""Options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Protocol

from lastresort.output import Output
from signalling.errors import MultiaddrError
from signalling.libp2p.multiaddr import Multiaddr

__all__ = [
    "Run",
    "SubParsers",
    "add_common",
    "add_identity",
    "limit",
    "listen_address",
    "new_parser",
    "peer_address",
    "pings",
    "seconds",
]

SubParsers = Any
"""What ``argparse`` gives for ``add_subparsers``; it has no public name."""


class Run(Protocol):
    """A command: takes the parsed options, returns the exit status."""

    def __call__(self, options: argparse.Namespace, output: Output) -> Coroutine[Any, Any, int]:
        """Run it."""


def new_parser(commands: SubParsers, name: str, *, help: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """Add a sub-command's parser, with the options that every command has."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=help, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common(parser)
    return parser


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add ``--json`` and ``--verbose``."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line on standard output, for scripts")
    parser.add_argument("--verbose", "-v", action="count", default=0, help="log what happens; twice for details")


def add_identity(parser: argparse.ArgumentParser) -> None:
    """Add ``--identity``."""
    parser.add_argument(
        "--identity",
        type=Path,
        metavar="FILE",
        help="keep the private key here, so that the peer id stays the same; made when it is not there",
    )


def listen_address(text: str) -> Multiaddr:
    """Parse a multiaddr to listen on, for ``argparse``."""
    try:
        return Multiaddr(text)
    except MultiaddrError as error:
        raise argparse.ArgumentTypeError(f"{text} is no multiaddr: {error}; try /ip4/0.0.0.0/tcp/4001") from None


def peer_address(text: str) -> Multiaddr:
    """Parse a multiaddr that names a peer, for ``argparse``."""
    address = listen_address(text)
    if address.peer_id is None:
        raise argparse.ArgumentTypeError(f"{text} names no peer: it has to end in /p2p/<peer id>")
    return address


def limit(text: str) -> int:
    """Parse a limit, 0 for none, for ``argparse``."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no limit: 0 or more")
    return int(text)


def pings(text: str) -> int:
    """Parse how many pings to send, for ``argparse``."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no number of pings: 1 or more")
    return int(text)


def seconds(text: str) -> float:
    """Parse a time of at most a day, for ``argparse``."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= _DAY:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds between 0 and {_DAY}")
    return value


_DAY = 86_400
