"""Names of a package that are looked up when they are first used (PEP 562), so that what nobody uses is not loaded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module

__all__ = ["late_names"]


def late_names(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and the ``__dir__`` of a package.

    Args:
        package: its ``__name__``.
        homes: the module that each name is in, as :func:`importlib.import_module` takes it: ``.room`` is one of the
            package's own. Say it at the call, where the checks of the floors read it. No room may be called like a
            name, in whose place it would stand once it is loaded.

    The ``__getattr__`` raises AttributeError for other names, and whatever importing the module raises.
    """

    def look_up(name: str) -> object:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(home, package), name)
        setattr(sys.modules[package], name, value)  # From now on Python finds it without us.
        return value

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return look_up, listed
