"""Runs the unit tests of the page's modules with node's own test runner."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "js"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.test.mjs")))
def test_the_modules_of_the_page(node: Path, name: str) -> None:
    run = subprocess.run([node, "--test", FOLDER / name], capture_output=True, text=True, timeout=100, check=False)

    assert run.returncode == 0, run.stdout + run.stderr
    assert "# pass 0\n" not in run.stdout
