"""Running an example as its reader would."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"

STRICT = [sys.executable, "-W", "error"]
"""Every warning in an example is an error."""

PATIENCE = 40.0
"""How long an example may take to come to its end, in seconds: it bounds a failure, and several start at once."""


@contextmanager
def start(example: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run an example with its output in a pipe; it does not outlive the block, so that a test that fails ends."""
    with subprocess.Popen(
        [*STRICT, str(EXAMPLES / example), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        bufsize=1,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def rest(process: subprocess.Popen[str]) -> str:
    """Return what an example still says until it ends by itself."""
    return process.communicate(timeout=PATIENCE)[0]
