"""Which modules a compiled build compiles, and why the others are left as they are.

The cores (stun, turn, ice) are compiled whole, but for what :data:`INTERPRETED` names with its reason. Of the asyncio
shells only the modules of :data:`HOT_SHELLS` are: those that each datagram goes through, and those whose classes are
derived from theirs (``stream_driver.py``, ``portmapping.py``), because nothing interpreted may be. A new module of a
core is compiled from its first day; if mypyc cannot, it gets a line here.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["CORES", "HOT_SHELLS", "INTERPRETED", "LEVEL", "MYPY", "WISH", "is_wished", "level", "modules"]

WISH = "LASTRESORT_COMPILE"
"""The environment variable that asks for a compiled build."""
LEVEL = "LASTRESORT_COMPILE_LEVEL"
"""How hard the C compiler tries, as in its ``-O``: 3 unless told, 0 for a quick build."""
MYPY = "mypy>=2.4,<2.5"
"""What compiles: mypyc is part of it, and changes with each release in what it can do."""

CORES = ("stun", "turn", "ice")

_BUILTIN = "classes of it inherit from built-in types, which native classes cannot"
_CHECKED = "isinstance() is asked about its protocols, which are no protocols once they are compiled"
_COPIED = "its objects are copied with copy.copy(), which native ones cannot be"
_DERIVED = "its classes may be derived from, which native ones cannot be outside of the build"

INTERPRETED = {
    "ice/errors.py": _BUILTIN,
    "ice/exchange.py": _BUILTIN,
    "ice/mux.py": _DERIVED,
    "ice/state.py": "an enumeration whose members have attributes: mypyc takes them for another class's",
    "stun/auth.py": _COPIED,
    "stun/auth_server.py": _CHECKED,
    "stun/behaviour_server.py": _DERIVED,
    "stun/binding_server.py": _DERIVED,
    "stun/errors.py": _BUILTIN,
    "stun/lazy_queue.py": _BUILTIN,
    "stun/machine.py": _DERIVED,
    "stun/network.py": _CHECKED,
    "stun/nothing.py": _BUILTIN,
    "turn/authentication.py": _COPIED,
    "turn/credentials.py": _CHECKED,
    "turn/errors.py": _BUILTIN,
    "turn/third_party.py": _COPIED,
}
"""The modules of the cores that stay as they are, and why. So do all ``__init__`` and ``__main__``."""

HOT_SHELLS = (
    "ice/aio/base_receiver.py",
    "ice/aio/driver.py",
    "ice/aio/flag.py",
    "ice/aio/inbox.py",
    "ice/aio/portmapping.py",
    "ice/aio/route.py",
    "ice/aio/stats.py",
    "stun/aio/alarms.py",
    "stun/aio/driver.py",
    "stun/aio/end_of_turn.py",
    "stun/aio/offload.py",
    "stun/aio/stream_driver.py",
    "stun/aio/timer.py",
    "stun/aio/udp_socket.py",
)


def is_wished() -> bool:
    """Whether the environment asks for a compiled build."""
    return os.environ.get(WISH, "0") not in ("", "0")


def level() -> str:
    """Return the optimisation level for the C compiler."""
    return os.environ.get(LEVEL, "3")


def modules(root: Path) -> list[str]:
    """Return the files that are compiled, as POSIX paths from ``root``, in order."""
    cores = (path.relative_to(root) for core in CORES for path in (root / core).rglob("*.py"))
    chosen = {
        path.as_posix()
        for path in cores
        if "aio" not in path.parts and path.stem not in ("__init__", "__main__") and path.as_posix() not in INTERPRETED
    }
    return sorted(chosen | set(HOT_SHELLS))
