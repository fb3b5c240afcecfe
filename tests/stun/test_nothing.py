"""Containers that everybody shares, and that nobody can put anything into."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stun.nothing import NO_ENTRIES, NO_ITEMS, NO_MEMBERS


@pytest.mark.parametrize(
    "change",
    [
        lambda: NO_ENTRIES.__setitem__("key", 1),
        lambda: NO_ENTRIES.setdefault("key", 1),
        lambda: NO_ENTRIES.update(key=1),
        lambda: NO_ENTRIES.__ior__({"key": 1}),
        lambda: NO_ITEMS.append(1),
        lambda: NO_ITEMS.extend([1]),
        lambda: NO_ITEMS.insert(0, 1),
        lambda: NO_ITEMS.__iadd__([1]),
        lambda: NO_ITEMS.__setitem__(slice(0), [1]),
        lambda: NO_MEMBERS.add(1),
        lambda: NO_MEMBERS.update([1]),
        lambda: NO_MEMBERS.__ior__({1}),
    ],
)
def test_whoever_puts_something_in_is_told(change: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match="everybody's"):
        change()
    assert not NO_ENTRIES
    assert not NO_ITEMS
    assert not NO_MEMBERS


def test_what_changes_nothing_is_allowed() -> None:
    NO_ENTRIES.clear()
    NO_ITEMS.clear()
    NO_MEMBERS.clear()
    NO_MEMBERS.discard("other")
    assert NO_ENTRIES.pop("other", None) is None
