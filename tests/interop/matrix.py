"""Who we have met, how and in what version: ``python -m tests.interop.matrix`` writes docs/interop.md from a run.

A test has a place in the tables by a marker, whose texts may name the test's parameters in braces::

    @pytest.mark.matrix("aioice", "candidates {meeting}", over="UDP")
    @pytest.mark.matrix(grid="{transport}, {relay}", row="{controlling}", column="{controlled}")

The first is a line of a peer's table, where the parameter ``role``, when there is one, chooses the column; the second a
cell of a grid. What stands there is the property ``outcome`` that the test recorded, or that it passed.
"""

from __future__ import annotations

import argparse
import enum
import importlib.metadata
import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.tools import JS_FOLDER, ROOT, chromium, libnice, node

__all__ = ["PAGE", "Place", "places_on", "render"]

PAGE = ROOT / "docs" / "interop.md"
PASSED, FAILED = "yes", "FAILED"

HEAD = """# Interoperation

Written by a run of the tests against the real things, on {system}:

```console
$ python -m tests.interop.matrix     # in the environment of scripts/test; root, for the NATs of the kernel
```

A line stands for tests of `tests/interop`; `tests/interop/test_matrix.py` fails when lines and tests are no longer the
same. "{passed}" is a connection with data both ways; the columns are our role in the beginning.
"""
GRIDS = """
## NATs of the Linux kernel

Two of our sessions in network namespaces, each behind its own nftables router; the TURN server is reached over what the
heading says and nothing else. Rows are what is around the controlling side, columns what is around the controlled one.
Each cell is what the oracle of `tests/simulation/oracle.py` foretells, and its test fails otherwise: **direct** (one
side is reached at its own address), **punched** (each is reached through what it opened), **relayed** or **none**.
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a test's outcome goes: a table, a line and a column of it."""

    kind: str
    """``peer`` or ``grid``."""
    table: str
    line: tuple[str, ...]
    column: str


def places_of(item: pytest.Item) -> Iterator[Place]:
    """Yield where the outcome of a test goes."""
    callspec = getattr(item, "callspec", None)
    words = {name: _word(value) for name, value in callspec.params.items()} if callspec else {}
    for marker in item.iter_markers("matrix"):
        told = {key: value.format(**words) for key, value in marker.kwargs.items()}
        if "grid" in told:
            yield Place("grid", told["grid"], (told["row"],), told["column"])
        else:
            peer, what = (text.format(**words) for text in marker.args)
            yield Place(
                "peer", peer, (what, _transports(told.get("over", "UDP"))), told.get("role", words.get("role", ""))
            )


def _transports(text: str) -> str:
    return re.sub(r"\b(?:udp|tcp|tls|dtls)\b", lambda found: found.group().upper(), text)


def _word(value: object) -> Any:
    if isinstance(value, enum.Enum):
        return str(value.value)
    return value


# ---------------------------------------------------------------- running


class Recorder:
    """The plugin that notes the outcomes."""

    def __init__(self) -> None:
        self.outcomes: dict[Place, list[str]] = {}
        self._places: dict[str, list[Place]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            self._places[item.nodeid] = list(places_of(item))
            for place in self._places[item.nodeid]:
                self.outcomes.setdefault(place, [])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.passed and report.when != "call":
            return
        if report.passed:
            outcome = str(dict(report.user_properties).get("outcome", PASSED))
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            outcome = f"not run: {reason.removeprefix('Skipped: ')}"
        else:
            outcome = FAILED
        for place in self._places[report.nodeid]:
            self.outcomes[place].append(outcome)


def run(arguments: Iterable[str]) -> Recorder:
    """Run or collect the tests that have a place."""
    recorder = Recorder()
    status = pytest.main(["-q", "-m", "matrix", str(ROOT / "tests" / "interop"), *arguments], plugins=[recorder])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise SystemExit(int(status))
    return recorder


# ---------------------------------------------------------------- versions


def _said(command: list[str | Path], pattern: str) -> str:
    try:
        out = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    except OSError:
        return ""
    found = re.search(pattern, out)
    return found.group(1) if found else ""


def _werift() -> str:
    package = JS_FOLDER / "node_modules" / "werift" / "package.json"
    version: str = json.loads(package.read_text())["version"] if package.is_file() else ""
    return f"{version}, Node.js {_said([node().path or 'node', '--version'], r'v([0-9.]+)')}"


VERSIONS: dict[str, Callable[[], str]] = {
    "aioice": lambda: importlib.metadata.version("aioice"),
    "aiortc": lambda: importlib.metadata.version("aiortc"),
    "werift": _werift,
    "libnice": lambda: _said(["dpkg-query", "-W", "libnice10"], r"\t([0-9.]+)") if libnice().path else "",
    "Chromium": lambda: _said([chromium().path or "chromium", "--version"], r"([0-9]+(?:\.[0-9]+)+)"),
    "coturn": lambda: _said([shutil.which("turnserver") or "turnserver", "--version"], r"([0-9]+(?:\.[0-9]+)+)"),
}


# ---------------------------------------------------------------- the page


def render(outcomes: dict[Place, list[str]], system: str, versions: Callable[[str], str]) -> str:
    """Return the page."""
    parts = [HEAD.format(system=system, passed=PASSED)]
    for kind, heading in (("peer", ""), ("grid", GRIDS)):
        tables: dict[str, dict[tuple[str, ...], dict[str, str]]] = {}
        for place, heard in outcomes.items():
            if place.kind == kind:
                tables.setdefault(place.table, {}).setdefault(place.line, {})[place.column] = _summary(heard)
        if tables:
            parts.append(heading)
        for name, lines in tables.items():
            parts += _peer(name, lines, versions(name)) if kind == "peer" else _grid(name, lines)
    return "\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def _summary(heard: list[str]) -> str:
    if FAILED in heard:
        return FAILED
    missing = sorted({outcome for outcome in heard if outcome.startswith("not run")})
    return " / ".join(missing or sorted(set(heard))) or "not run"


def _peer(name: str, lines: dict[tuple[str, ...], dict[str, str]], version: str) -> Iterator[str]:
    yield f"\n## {' '.join(filter(None, (name, version)))}\n"
    yield "\n| what | over | controlling | controlled |\n|---|---|---|---|"
    for (what, over), cells in lines.items():
        either = cells.get("")
        ours, theirs = (cells.get(role, either or "") for role in ("controlling", "controlled"))
        yield f"| {what} | {over} | {ours} | {theirs} |"


def _grid(name: str, lines: dict[tuple[str, ...], dict[str, str]]) -> Iterator[str]:
    columns = list(dict.fromkeys(column for cells in lines.values() for column in cells))
    yield f"\n### {name}\n\n| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}"
    for (row,), cells in lines.items():
        yield f"| {row} | {' | '.join(cells.get(column, '') for column in columns)} |"


_HEADING = re.compile(r"^#{2,3} (.+)$")


def places_on(text: str) -> set[tuple[str, ...]]:
    """Return ``(table, words of the line..., column)`` for everything that the page's tables have a word on."""
    found, table, columns = set(), "", []
    for line in text.splitlines():
        if heading := _HEADING.match(line):
            table, columns = heading.group(1), []
        elif line.startswith("|") and not line.startswith("|---"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not columns:
                columns = cells
                continue
            wide = 2 if columns[0] == "what" else 1
            name = _without_version(table) if wide == 2 else table
            found |= {
                (name, *cells[:wide], column) for column, cell in zip(columns[wide:], cells[wide:], strict=True) if cell
            }
    return found


def _without_version(heading: str) -> str:
    return re.sub(r" [0-9].*", "", heading)


def main() -> None:
    """Run the tests and write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.interop.matrix", description="Write docs/interop.md.")
    parser.add_argument("--output", type=Path, default=PAGE, help="where the page goes")
    options, rest = parser.parse_known_args()
    recorder = run(rest)
    system = f"Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}"
    page = render(recorder.outcomes, system, lambda peer: VERSIONS.get(peer, str)())
    options.output.write_text(page, encoding="utf-8")
    sys.stdout.write(f"{options.output}: {len(recorder.outcomes)} outcomes\n")
    failed = [place for place, heard in recorder.outcomes.items() if FAILED in heard]
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
