"""Run the benchmarks and print one table: `python -m benchmarks [names] [--json] [--write docs/benchmarks.md]`."""

from __future__ import annotations

import argparse
import datetime
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import py_libp2p
from benchmarks.process import in_a_new_process
from benchmarks.results import Result, to_json, to_markdown, write_into

FOLDER = Path(__file__).resolve().parent


def names() -> list[str]:
    """Return the modules of this folder that have a ``run()``, found without importing them."""
    modules = (module.name for module in pkgutil.iter_modules([str(FOLDER)]) if module.name != "__main__")
    return sorted(name for name in modules if "\ndef run(" in _text(name))


def _text(name: str) -> str:
    path = FOLDER / f"{name}.py"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def run(chosen: Sequence[str]) -> list[Result]:
    """Run the chosen benchmarks one after the other and return their results, in order."""
    results: list[Result] = []
    for name in chosen:
        if py_libp2p.VARIABLE in _text(name):
            py_libp2p.ensure()
        print(f"measuring {name} ...", file=sys.stderr)
        results.extend(in_a_new_process(name))
    return results


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; exits with a message when a name is unknown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"which to run (default: all of {', '.join(names())})")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="also write the table into this page")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(names())
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are: {', '.join(names())}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit status is 1 when a goal is missed."""
    options = parse(arguments)
    results = run(options.names or names())
    today = datetime.datetime.now(datetime.UTC).date()
    print(to_json(results, today) if options.json else to_markdown(results, today))
    if options.write:
        write_into(options.write, to_markdown(results, today))
    missed = [result for result in results if not result.met]
    for result in missed:
        print(f"goal missed: {result.name} ({result.ratio:.2f} x of {result.goal:g} x)", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
