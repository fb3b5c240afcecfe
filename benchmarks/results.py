"""What a benchmark reports, and the table that all of them make."""

from __future__ import annotations

import datetime
import importlib.machinery
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import ice.agent

__all__ = ["Result", "machine", "to_json", "to_markdown", "write_into"]

START = "<!-- table: written by `python -m benchmarks --write`, do not edit by hand -->"
END = "<!-- end of table -->"


HIGHER_UNITS = ("/s", "per second", "bit/s", "B/s")
"""Units that are better when higher; every other unit is a time or a size, better when lower."""


@dataclass(frozen=True, slots=True)
class Result:
    """One thing measured on both sides in one run."""

    name: str
    """What was measured, with its conditions, such as ``1200-byte datagrams through a connected pair``."""

    ours: float
    """Our figure, in ``unit``."""

    theirs: float
    """The other side's figure, in ``unit``."""

    unit: str
    """Such as ``ms``, ``MB/s``, ``datagrams/s``; a unit with ``/s`` is better when higher."""

    goal: float
    """The ratio that we set ourselves; 1.0 is "as good as they are"."""

    peer: str = ""
    """Who the other side is, with its version, such as ``aioice 0.13.0``."""

    note: str = ""
    """What a reader has to know to judge the figure."""

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger figure is the better one."""
        return any(self.unit.endswith(end) for end in HIGHER_UNITS)

    @property
    def ratio(self) -> float:
        """How many times better we are than the other side, whichever way the unit runs."""
        better, worse = (self.ours, self.theirs) if self.higher_is_better else (self.theirs, self.ours)
        return better / worse if worse else float("inf")

    @property
    def met(self) -> bool:
        """Whether the goal is met."""
        return self.ratio >= self.goal


def machine() -> str:
    """Return one line about the machine that a figure was measured on, and whether what was measured is compiled."""
    return (
        f"{_cpu()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"{platform.python_implementation()} {platform.python_version()}, {_build()}"
    )


def _build() -> str:
    is_extension = ice.agent.__file__.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))
    return "compiled with mypyc" if is_extension else "not compiled"


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()


def _figure(value: float) -> str:
    """Return a figure with three significant digits and thousands set apart."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def to_markdown(results: Sequence[Result], when: datetime.date) -> str:
    """Return the table, with the machine and the date under it."""
    lines = [
        "| measured | ours | theirs | against | ratio | goal | |",
        "|---|--:|--:|---|--:|--:|---|",
    ]
    for result in results:
        verdict = "met" if result.met else "**missed**"
        lines.append(
            f"| {result.name} | {_figure(result.ours)} {result.unit} | {_figure(result.theirs)} {result.unit} "
            f"| {result.peer} | {result.ratio:.2f} × | {result.goal:g} × | {verdict} |"
        )
    notes = [f"- {result.name}: {result.note}" for result in results if result.note]
    lines += ["", f"{when.isoformat()}, {machine()}.", *(["", *notes] if notes else [])]
    return "\n".join(lines)


def to_json(results: Sequence[Result], when: datetime.date) -> str:
    """Return the same as one JSON document."""
    rows = [{**asdict(result), "ratio": result.ratio, "met": result.met} for result in results]
    return json.dumps({"date": when.isoformat(), "machine": machine(), "results": rows}, indent=2)


def write_into(page: Path, table: str) -> None:
    """Replace the table in a page, between its two marker comments.

    Raises:
        ValueError: the page has no markers.
    """
    text = page.read_text(encoding="utf-8")
    if START not in text or END not in text:
        raise ValueError(f"{page} has no table markers")
    head, rest = text.split(START, 1)
    _, tail = rest.split(END, 1)
    page.write_text(f"{head}{START}\n\n{table}\n\n{END}{tail}", encoding="utf-8")
