"""``lastresort demo``: relay, STUN server, gateway, a native peer and the page, on this machine."""

from __future__ import annotations

import argparse

from browser_demo.cli import DESCRIPTION, EPILOG, add_options, run_demo
from lastresort.commands.options import SubParsers, new_parser
from lastresort.output import Output

__all__ = ["add_parser", "run"]


def add_parser(commands: SubParsers, help: str) -> None:
    """Add ``demo`` to the command line."""
    parser = new_parser(
        commands,
        "demo",
        help=help,
        description=DESCRIPTION,
        epilog=EPILOG.replace("scripts/demo", "lastresort demo"),
    )
    add_options(parser)
    parser.set_defaults(run=run)


async def run(options: argparse.Namespace, output: Output) -> int:
    """Run it until Ctrl-C, or the check."""
    return await run_demo(options)
