"""Names that a package looks up late, with a package of its own for each test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

PACKAGE = """
from stun.late import late_names

here = 1
__getattr__, __dir__ = late_names(
    __name__, {"Alpha": ".room", "gone": ".room", "lost": ".nowhere", "sqrt": "math", "far": "late_house.inner.room"}
)
"""
FILES = {
    "__init__.py": PACKAGE,
    "room.py": "class Alpha: pass",
    "inner/__init__.py": "",
    "inner/room.py": "far = 'far'",
}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package whose names are in other modules, not one of which is loaded."""
    for name, text in FILES.items():
        file = tmp_path / "late_house" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield import_module("late_house")
    for name in [name for name in sys.modules if name.partition(".")[0] == "late_house"]:
        del sys.modules[name]


def rooms() -> set[str]:
    return {name for name in sys.modules if name.startswith("late_house.")}


def test_a_name_is_looked_up_at_its_first_use_and_not_again(house: ModuleType) -> None:
    assert not rooms()
    first = house.Alpha
    assert rooms() == {"late_house.room"}
    assert (first.__name__, first.__module__) == ("Alpha", "late_house.room")
    assert vars(house)["Alpha"] is first
    del sys.modules["late_house.room"]
    assert house.Alpha is first, "a second look would have made a second class"


def test_a_home_is_a_room_of_the_package_or_any_other_module(house: ModuleType) -> None:
    assert house.sqrt(4) == 2
    assert house.far == "far"
    taken: dict[str, object] = {}
    exec("from late_house import *\nfrom late_house import Alpha, here", taken)
    assert taken["Alpha"] is house.Alpha


@pytest.mark.parametrize("name", ["Alhpa", "__wrapped__", "room"])
def test_another_name_is_what_python_says_of_any_module(house: ModuleType, name: str) -> None:
    with pytest.raises(AttributeError) as ours:
        getattr(house, name)
    with pytest.raises(AttributeError) as pythons:
        getattr(sys, name)
    assert str(ours.value) == str(pythons.value).replace("'sys'", "'late_house'")
    assert (ours.value.name, ours.value.obj) == (name, house), "so a traceback asks whether another was meant"
    assert not rooms()
    assert not hasattr(house, name)


def test_the_listing_has_what_is_not_loaded_yet_and_loads_none_of_it(house: ModuleType) -> None:
    assert {"here", "Alpha", "gone", "lost", "sqrt", "far"} <= set(dir(house))
    assert not rooms()
    house.Alpha  # noqa: B018
    assert dir(house).count("Alpha") == 1
    assert "room" in dir(house)


def test_what_goes_wrong_at_home_is_heard_and_tried_again(house: ModuleType) -> None:
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        house.lost  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'gone'"):
        house.gone  # noqa: B018
    assert {"lost", "gone"}.isdisjoint(vars(house))
    import_module("late_house.room").gone = "found"  # type: ignore[attr-defined]
    assert house.gone == "found"
