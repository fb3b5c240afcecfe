"""The scripts: they parse, they can be executed, CI fails when either half fails, and set-up says what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("scripts/demo", "scripts/test", "scripts/check", "scripts/compiled", ".ci/run")


def bash(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a piece of bash with scripts/lib.sh sourced."""
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail; source scripts/lib.sh; {script}"],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", [*COMMANDS, "scripts/lib.sh"])
def test_a_script_parses(name: str) -> None:
    assert subprocess.run(["bash", "-n", str(ROOT / name)], check=False).returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_a_script_can_be_executed(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)


@pytest.mark.parametrize(("check", "test", "expected"), [(0, 0, 0), (1, 0, 1), (0, 1, 1), (0, 5, 1), (2, 2, 1)])
def test_ci_runs_both_and_fails_when_either_fails(tmp_path: Path, check: int, test: int, expected: int) -> None:
    for folder in (".ci", "scripts"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    for name, status in (("check", check), ("test", test)):
        script = tmp_path / "scripts" / name
        script.write_text(f"#!/bin/sh\necho {name} ran\nexit {status}\n")
        script.chmod(0o755)
    ran = subprocess.run(["bash", ".ci/run"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == expected
    assert ran.stdout.splitlines() == ["check ran", "test ran"]


def test_an_unknown_argument_of_check_is_refused() -> None:
    ran = subprocess.run([ROOT / "scripts/check", "--fxi"], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert "usage: scripts/check [--fix]" in ran.stderr


def test_a_python_that_is_too_old_is_passed_over(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    found = bash("find_python", PYTHON=str(old))
    assert found.returncode == 0
    assert found.stdout.strip() != str(old)


def test_what_cannot_be_installed_is_named_and_is_no_error() -> None:
    ran = bash("is_root() { false; }; apt_want no-such-command:no-such-package bash:bash")
    assert ran.returncode == 0
    assert "not installed: no-such-package (as root: apt-get install no-such-package)" in ran.stderr


def test_a_failing_step_shows_the_end_of_its_log(tmp_path: Path) -> None:
    ran = bash(f"quietly {tmp_path}/log bash -c 'echo words; exit 3' || echo failed")
    assert ran.stdout.strip() == "failed"
    assert "words" in ran.stderr


def test_the_hash_changes_with_the_text_and_takes_missing_files(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.write_text("a")
    before = bash(f"hash_of {one} {tmp_path}/none").stdout
    assert before == bash(f"hash_of {one}").stdout
    one.write_text("b")
    assert before != bash(f"hash_of {one}").stdout
