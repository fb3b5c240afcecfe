"""``python -m browser_demo``: the demo on this machine."""

from __future__ import annotations

import argparse
import asyncio
import sys

from browser_demo.cli import DESCRIPTION, EPILOG, add_options, run_demo
from browser_demo.errors import DemoError
from signalling.errors import SignallingError


def main() -> int:
    """Run the demo; the exit status is 0, 1 when it failed, 2 for wrong usage, 130 after an early Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line on standard output, for scripts")
    add_options(parser)
    try:
        return asyncio.run(run_demo(parser.parse_args()))
    except KeyboardInterrupt:
        return 130
    except (DemoError, SignallingError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
