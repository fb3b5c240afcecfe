"""The page of outcomes has the rows of today's tests, and the tables are made as they should be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.interop.matrix import FAILED, PAGE, PASSED, Place, places_on, render
from tests.tools import ROOT

COLLECT = """
import json, sys
from tests.interop import matrix
recorder = matrix.run(["--collect-only", "-qq"])
json.dump([[place.table, *place.line, place.column] for place in recorder.outcomes], open(sys.argv[1], "w"))
"""


def test_the_page_has_the_rows_of_todays_tests(tmp_path: Path) -> None:
    names = tmp_path / "places.json"
    command = [sys.executable, "-c", COLLECT, str(names)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = set()
    for *line, column in json.loads(names.read_text()):
        columns = [column] if column else ["controlling", "controlled"]
        wanted |= {(*line, each) for each in columns}
    page = PAGE.read_text(encoding="utf-8")
    there = places_on(page)
    again = "run `python -m tests.interop.matrix`"
    assert not there - wanted, f"rows without a test: {again}"
    assert not wanted - there, f"tests without a row: {again}"
    assert FAILED not in page
    assert "not run" not in page


def test_outcomes_become_tables() -> None:
    outcomes = {
        Place("peer", "aioice", ("restart", "UDP"), "controlling"): [PASSED, PASSED],
        Place("peer", "aioice", ("restart", "UDP"), "controlled"): [PASSED, FAILED],
        Place("peer", "werift", ("relay", "TLS"), ""): ["not run: needs Node.js", PASSED],
        Place("grid", "UDP, no relay", ("open",), "masquerade"): ["direct"],
        Place("grid", "UDP, no relay", ("masquerade",), "masquerade"): ["punched"],
    }
    page = render(outcomes, "a machine", {"aioice": "0.13.0", "werift": "0.25, Node.js 20"}.__getitem__)
    assert "## aioice 0.13.0\n" in page
    assert f"| restart | UDP | {PASSED} | {FAILED} |" in page
    assert "| relay | TLS | not run: needs Node.js | not run: needs Node.js |" in page
    assert "| | masquerade |\n|---|---|\n| open | direct |\n| masquerade | punched |" in page
    assert places_on(page) == {
        ("aioice", "restart", "UDP", "controlling"),
        ("aioice", "restart", "UDP", "controlled"),
        ("werift", "relay", "TLS", "controlling"),
        ("werift", "relay", "TLS", "controlled"),
        ("UDP, no relay", "open", "masquerade"),
        ("UDP, no relay", "masquerade", "masquerade"),
    }
