"""The virtual environment that py-libp2p gets for itself: its sixty packages stay out of ours."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

__all__ = ["VARIABLE", "VERSION", "ensure"]

VERSION = "0.8.1"
VARIABLE = "LASTRESORT_PYLIBP2P_PYTHON"
"""The environment variable in which a benchmark finds the other interpreter."""

FOLDER = Path(__file__).resolve().parent.parent / ".cache" / "py-libp2p-venv"


def ensure() -> str | None:
    """Return an interpreter that imports py-libp2p, making its environment on first use; None when it cannot be had.

    The variable, when already set, is believed.
    """
    given = os.environ.get(VARIABLE)
    if given:
        return given
    python = FOLDER / "bin" / "python"
    if not _imports(python) and not _install(python):
        return None
    os.environ[VARIABLE] = str(python)
    return str(python)


def _imports(python: Path) -> bool:
    if not python.exists():
        return False
    script = f"import importlib.metadata, libp2p; assert importlib.metadata.version('libp2p') == {VERSION!r}"
    return subprocess.run([str(python), "-c", script], capture_output=True, check=False).returncode == 0


def _install(python: Path) -> bool:
    print(f"installing py-libp2p {VERSION} into {FOLDER} (once, a minute or two)", file=sys.stderr)
    try:
        venv.create(FOLDER, with_pip=True, clear=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"no virtual environment for py-libp2p: {error}", file=sys.stderr)
        return False
    command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", f"libp2p=={VERSION}"]
    if subprocess.run(command, check=False).returncode != 0:
        print(f"py-libp2p {VERSION} could not be installed; its rows are left out", file=sys.stderr)
        return False
    return _imports(python)
