"""What a plain class needs to be a value, as a frozen dataclass is one."""

from __future__ import annotations

from typing import Any

__all__ = ["Plain"]


class Plain:
    """Equality, hash and text by what ``__match_args__`` of a class names.

    For what is made for each message or change: a dataclass is made by a function of Python's even in the compiled
    build, and a frozen one takes a call for each of its fields. A subclass has an ``__init__`` that sets what it names,
    each as ``Final``.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and _named(self) == _named(other)

    def __hash__(self) -> int:
        return hash(tuple(_named(self).values()))

    def __repr__(self) -> str:
        named = ", ".join(f"{name}={value!r}" for name, value in _named(self).items())
        return f"{type(self).__name__}({named})"


def _named(plain: Any) -> dict[str, object]:
    return {name: getattr(plain, name) for name in plain.__match_args__}
