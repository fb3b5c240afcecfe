"""The distribution: it holds the seven packages and nothing else, and declares whatever they import."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests import floors
from tests.floors import Source

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OPTIONAL = {"browser_demo": ("demo", "test"), "ice": ("upnp",), "lastresort": ("demo",)}
"""Whose extras a package may import from, where it does without them otherwise."""


def names(requirements: Iterable[str]) -> set[str]:
    """Return the distributions' names in normal form, such as ``pytest-asyncio``."""
    found = (re.match(r"[A-Za-z0-9._-]+", requirement) for requirement in requirements)
    return {re.sub(r"[-_.]+", "-", match.group()).lower() for match in found if match}


def undeclared(source: Source, declared: set[str], distributions: Mapping[str, list[str]]) -> set[str]:
    """Return the modules that a file imports and no declared distribution brings."""
    tops = {found.top for found in source.imports()} - set(sys.stdlib_module_names) - set(floors.FLOORS)
    tops.discard(floors.COMPUTED)
    return {top for top in tops if not declared & names(distributions.get(top, ()))}


@pytest.mark.parametrize("package", floors.FLOORS)
def test_every_import_is_declared(package: str) -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    declared = names(PROJECT["project"]["dependencies"])
    declared |= {name for extra in OPTIONAL.get(package, ()) for name in names(extras[extra])}
    known = packages_distributions()
    faults = {
        source.path: found
        for source in floors.sources(ROOT, [package])
        if (found := undeclared(source, declared, known))
    }
    assert faults == {}


def test_an_undeclared_import_is_found() -> None:
    known = {"trio": ["trio"], "aiohttp": ["aiohttp"]}
    source = Source("stun/a.py", "", ast.parse("import trio, asyncio, stun.message\nfrom aiohttp import web"))
    assert undeclared(source, {"aiohttp"}, known) == {"trio"}


def test_the_wheel_holds_the_seven_packages_only() -> None:
    setuptools = pytest.importorskip("setuptools", reason="needs setuptools: pip install setuptools")
    include = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    found = setuptools.find_packages(str(ROOT), include=include)
    assert {name.split(".")[0] for name in found} == set(floors.FLOORS)


def test_every_folder_of_modules_is_found_by_the_build() -> None:
    loose = {
        path.parent.relative_to(ROOT).as_posix()
        for package in floors.FLOORS
        for path in (ROOT / package).rglob("*.py")
        if not (path.parent / "__init__.py").is_file()
    }
    assert loose == set()
