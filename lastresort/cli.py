"""The ``lastresort`` command."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from lastresort.output import Output

if TYPE_CHECKING:
    from lastresort.commands.options import Run

__all__ = ["build_parser", "main"]

DESCRIPTION = """\
NAT traversal for Python in which relays are the last resort: peers meet at a relay, try every pair of
addresses, and go on over a direct path."""

EPILOG = """\
start here:
  lastresort demo                      a relay, a Python peer and a web page that connects to it, on this machine

two machines behind NATs, and one that both can reach:
  relay$ lastresort relay --listen /ip4/0.0.0.0/tcp/4001
  one$   lastresort peer --relay /ip4/RELAY/tcp/4001/p2p/RELAY_ID
  two$   echo hello | lastresort connect /ip4/RELAY/tcp/4001/p2p/RELAY_ID/p2p-circuit/webrtc/p2p/PEER_ID

`lastresort COMMAND --help` shows examples of each command, and the events that --json prints.
Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""

INTERRUPTED = 130


COMMANDS = {
    "demo": "a relay, a Python peer and a web page that connects to it",
    "relay": "run a circuit relay, where peers meet",
    "peer": "run a native peer that echoes, chats and shares files",
    "connect": "connect to a peer and pipe standard input and output",
    "nat": "find out what the NATs before us do, and which peers can be reached",
    "stun": "ask a STUN server for the address it sees, or serve as one",
    "turn": "run a TURN server, or make users of limited time for one",
}
"""Every command with its line of help."""

FOREIGN = frozenset({"stun", "turn"})
"""Commands with a command line of their own."""


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of the whole command line; with ``only``, the options of that command alone.

    What a command needs takes most of a second to import, so the others' modules stay where they are.
    """
    parser = argparse.ArgumentParser(
        prog="lastresort",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lastresort {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, help in COMMANDS.items():
        if name in FOREIGN or only not in (None, name):
            commands.add_parser(name, help=help, add_help=False)
        else:
            import_module(f"lastresort.commands.{name}").add_parser(commands, help)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["stun"]:
        from stun.__main__ import main as stun_main

        return stun_main(given[1:])
    if given[:1] == ["turn"]:
        from turn.__main__ import main as turn_main

        return turn_main(given[1:])
    options = build_parser(only=next(iter(given), "")).parse_args(given)
    _set_up_logging(options.verbose)
    output = Output(as_json=options.json)
    from lastresort.failures import EXPECTED, explain

    try:
        run: Run = options.run
        return asyncio.run(run(options, output))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone: nothing to say to it, and nothing for the interpreter to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except EXPECTED as error:
        output.error(*explain(error))
        return 1


def _set_up_logging(verbosity: int) -> None:
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 2)]
    logging.basicConfig(level=level, stream=sys.stderr, format="%(relativeCreated)7d ms %(name)s: %(message)s")
    for noisy in ("aiortc", "aioice", "aiohttp.access", "asyncio"):
        logging.getLogger(noisy).setLevel(max(level, logging.INFO))


def _version() -> str:
    try:
        return version("lastresort")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
