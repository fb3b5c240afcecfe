"""The compiled build: what it compiles, and that the modules under test are what the run says they are."""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("stun", "turn", "ice", "signalling", "webrtc_bridge", "browser_demo", "lastresort")
BACKEND = ROOT / "build_backend"
IS_COMPILED = os.environ.get("LASTRESORT_COMPILED") == "1"
"""Whether this run is of the compiled build, see ``scripts/test --compiled``."""


def load(name: str) -> ModuleType:
    """Import a module of the build backend, which is in no package."""
    spec = importlib.util.spec_from_file_location(name, BACKEND / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


compiled = load("compiled")


def root() -> Path:
    """Return where the packages are: in the tree, or installed."""
    return Path(importlib.import_module("stun").__file__ or "").parent.parent


@pytest.mark.parametrize("path", compiled.modules(root()))
def test_a_module_is_what_this_run_says(path: str) -> None:
    file = importlib.import_module(path.removesuffix(".py").replace("/", ".")).__file__
    assert file is not None
    assert file.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES)) is IS_COMPILED
    assert Path(file).is_relative_to(sys.prefix) is IS_COMPILED, "installed where it is compiled, else in the tree"


def test_what_stays_interpreted_is_interpreted_and_there() -> None:
    for path in compiled.INTERPRETED:
        file = importlib.import_module(path.removesuffix(".py").replace("/", ".")).__file__
        assert file is not None
        assert file.endswith(path)


def test_the_lists_name_modules_that_exist_and_each_once() -> None:
    assert not [path for path in (*compiled.INTERPRETED, *compiled.HOT_SHELLS) if not (root() / path).is_file()]
    assert not set(compiled.INTERPRETED) & set(compiled.HOT_SHELLS)
    assert all("aio" in Path(path).parts for path in compiled.HOT_SHELLS)
    assert not any("aio" in Path(path).parts for path in compiled.INTERPRETED)


def test_a_new_module_of_a_core_is_compiled_and_a_shell_is_not(tmp_path: Path) -> None:
    for name in ("stun/new.py", "ice/aio/new.py", "turn/__init__.py", "turn/__main__.py", "signalling/new.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert set(compiled.modules(tmp_path)) - set(compiled.HOT_SHELLS) == {"stun/new.py"}


@pytest.mark.parametrize(("value", "wished"), [(None, False), ("", False), ("0", False), ("1", True)])
def test_only_who_asks_gets_a_compiled_build(monkeypatch: pytest.MonkeyPatch, value: str | None, wished: bool) -> None:
    monkeypatch.delenv(compiled.WISH, raising=False)
    if value is not None:
        monkeypatch.setenv(compiled.WISH, value)
    assert compiled.is_wished() is wished


def test_mypy_is_needed_for_compiled_wheels_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    meta = pytest.importorskip("setuptools.build_meta", reason="needs setuptools: pip install setuptools")
    monkeypatch.syspath_prepend(str(BACKEND))
    heard: list[bool] = []
    for kind in ("wheel", "editable", "sdist"):
        answer = f"for {kind}"
        hook = f"get_requires_for_build_{kind}"
        monkeypatch.setattr(meta, hook, lambda settings, answer=answer: heard.append(compiled.is_wished()) or [answer])
    backend = load("backend")
    monkeypatch.delenv(compiled.WISH, raising=False)
    assert backend.get_requires_for_build_wheel() == ["for wheel"]
    monkeypatch.setenv(compiled.WISH, "1")
    assert backend.get_requires_for_build_wheel() == ["for wheel", compiled.MYPY]
    assert backend.get_requires_for_build_editable() == ["for editable"]
    assert backend.get_requires_for_build_sdist() == ["for sdist"]
    assert not any(heard), "setup.py runs in these steps, and mypy is not there yet"
    assert compiled.is_wished(), "for what comes next"


def test_the_wish_is_heard_when_the_wheel_is_made_and_in_no_other_step(monkeypatch: pytest.MonkeyPatch) -> None:
    meta = pytest.importorskip("setuptools.build_meta", reason="needs setuptools: pip install setuptools")
    monkeypatch.syspath_prepend(str(BACKEND))
    monkeypatch.setenv(compiled.WISH, "1")
    heard: dict[str, bool] = {}
    hooks = ("build_wheel", "build_sdist", "build_editable", "prepare_metadata_for_build_wheel")
    for hook in (*hooks, "prepare_metadata_for_build_editable"):
        monkeypatch.setattr(meta, hook, lambda *_, hook=hook: heard.update({hook: compiled.is_wished()}) or hook)
    backend = load("backend")
    for hook in (*hooks, "prepare_metadata_for_build_editable"):
        assert getattr(backend, hook)("folder") == hook
    assert [hook for hook, was_heard in heard.items() if was_heard] == ["build_wheel"]
    assert len(heard) == 5


def home(module: str | None, name: str) -> str | None:
    """Return the module that a name is defined in, which need not be the one that it is imported from."""
    if module is None or module.partition(".")[0] not in ("stun", "turn", "ice"):
        return module
    home: str | None = getattr(getattr(importlib.import_module(module), name, None), "__module__", module)
    return home


def derived(source: ast.Module, natives: set[str]) -> list[str]:
    """Return the classes of a source that derive from a class of one of the modules ``natives``."""
    imported = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(source)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    def is_native(base: ast.expr) -> bool:
        if isinstance(base, ast.Subscript):  # Of a generic class.
            base = base.value
        return isinstance(base, ast.Name) and base.id in imported and home(*imported[base.id]) in natives

    classes = (node for node in ast.walk(source) if isinstance(node, ast.ClassDef))
    return [node.name for node in classes if any(is_native(base) for base in node.bases)]


def test_no_interpreted_class_derives_from_a_compiled_one() -> None:
    paths = compiled.modules(root())
    natives = {path.removesuffix(".py").replace("/", ".") for path in paths}
    floors = [path for name in PACKAGES for path in (root() / name).rglob("*.py")]
    shown = [path for name in ("tests", "benchmarks") for path in (ROOT / name).rglob("*.py")]
    found = {
        path.name: names
        for path in (*floors, *shown)
        if not (path.is_relative_to(root()) and path.relative_to(root()).as_posix() in paths)
        and (names := derived(ast.parse(path.read_text(encoding="utf-8")), natives))
    }
    assert found == {}


def test_a_class_that_derives_from_a_compiled_one_is_found() -> None:
    planted = ast.parse(
        "from ice.mux import Place\nfrom stun.errors import StunError as E\nclass A(Place): ...\nclass B(E): ..."
    )
    assert derived(planted, {"ice.mux"}) == ["A"]
    again = ast.parse("from stun.aio import Driver\nclass A(Driver[int]): ...\nclass B(list[Driver[int]]): ...")
    assert derived(again, {"stun.aio.driver"}) == ["A"], "also by another name, and where it is generic"
