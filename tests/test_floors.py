"""The floors, the sans-IO rule and the sizes, checked on the tree; and each check on a planted fault."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import floors
from tests.floors import Source

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = tuple(floors.FLOORS)
EVERYTHING = (*PACKAGES, "tests", "benchmarks", "examples")

Check = Callable[[Source], Iterator[str]]

PACKAGE_CHECKS: tuple[Check, ...] = (
    floors.climbing_imports,
    floors.strangers,
    floors.io_in_cores,
    floors.imports_of_io_packages,
    floors.long_functions,
)


@pytest.mark.parametrize("check", PACKAGE_CHECKS, ids=lambda check: check.__name__)
def test_no_package_breaks_a_rule(check: Check) -> None:
    faults = [fault for source in floors.sources(ROOT, PACKAGES) for fault in check(source)]
    assert not faults, "\n" + "\n".join(faults)


def test_no_file_is_too_long() -> None:
    faults = [fault for source in floors.sources(ROOT, EVERYTHING) for fault in floors.too_long(source)]
    assert not faults, "\n" + "\n".join(faults)


def test_every_package_is_typed_and_has_one_error_root() -> None:
    assert list(floors.missing_parts(ROOT)) == []


def test_every_test_folder_is_a_package() -> None:
    assert list(floors.loose_test_folders(ROOT / "tests")) == []


def test_the_table_of_floors_names_every_package_of_the_distribution() -> None:
    found = {path.parent.name for path in ROOT.glob("*/py.typed")}
    assert found == set(PACKAGES)


def test_the_table_of_floors_has_no_cycle() -> None:
    for package, below in floors.FLOORS.items():
        assert all(package not in floors.FLOORS[lower] for lower in below)


def planted(path: str, text: str) -> Source:
    return Source(path, text, ast.parse(text))


FAULTS: list[tuple[Check, str, str]] = [
    (floors.climbing_imports, "stun/message.py", "import ice"),
    (floors.climbing_imports, "stun/message.py", "from ice.agent import Agent"),
    (floors.climbing_imports, "turn/client.py", "def late():\n    import signalling.libp2p"),
    (
        floors.climbing_imports,
        "ice/agent.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import signalling",
    ),
    (floors.climbing_imports, "ice/agent.py", "import importlib\nimportlib.import_module('webrtc_bridge')"),
    (floors.climbing_imports, "signalling/guard.py", "from ice import Role"),
    (floors.climbing_imports, "signalling/libp2p/aio/host.py", "import ice.aio"),
    (floors.climbing_imports, "signalling/libp2p/rendezvous.py", "import ice"),
    (floors.climbing_imports, "webrtc_bridge/peer.py", "import browser_demo"),
    (floors.climbing_imports, "browser_demo/server.py", "import lastresort"),
    (floors.climbing_imports, "ice/agent.py", "from tests.simulation import world"),
    (floors.climbing_imports, "ice/agent.py", "import importlib\nname = 'x'\nimportlib.import_module(name)"),
    (floors.climbing_imports, "ice/__init__.py", "import importlib\nimportlib.import_module(f'{__name__}{room}')"),
    (floors.climbing_imports, "ice/__init__.py", "late_names(__name__, {'a': '.a', 'b': 'webrtc_bridge.b'})"),
    (floors.climbing_imports, "ice/aio/__init__.py", "late_names(__name__, {'a': '..agent'})"),
    (floors.climbing_imports, "ice/__init__.py", "late_names(__name__, {'a': '.a', **more})"),
    (floors.climbing_imports, "ice/__init__.py", "late.late_names(__name__, TABLE)"),
    (floors.climbing_imports, "ice/__init__.py", "late_names('webrtc_bridge', {'a': '.a'})"),
    (floors.climbing_imports, "ice/agent.py", "late_names(__name__, {'a': '.a'})"),
    (floors.climbing_imports, "stun/later.py", "import importlib\nimportlib.import_module(home, package)"),
    (floors.strangers, "ice/__init__.py", "late_names(__name__, {'a': 'aiortc.a'})"),
    (floors.strangers, "ice/agent.py", "import aiortc"),
    (floors.strangers, "browser_demo/server.py", "from aiortc.sdp import SessionDescription"),
    (floors.strangers, "lastresort/cli.py", "import aioice"),
    (floors.io_in_cores, "stun/transaction.py", "import asyncio"),
    (floors.io_in_cores, "stun/transaction.py", "from time import monotonic"),
    (floors.io_in_cores, "ice/checks.py", "import socket"),
    (floors.io_in_cores, "ice/checks.py", "import secrets"),
    (floors.io_in_cores, "ice/checks.py", "import os\nos.urandom(4)"),
    (floors.io_in_cores, "ice/checks.py", "from os import urandom"),
    (floors.io_in_cores, "signalling/libp2p/yamux.py", "import threading"),
    (floors.io_in_cores, "signalling/libp2p/ping.py", "import random\nrandom.randbytes(4)"),
    (floors.io_in_cores, "signalling/libp2p/ping.py", "from random import SystemRandom"),
    (floors.io_in_cores, "stun/auth.py", "from datetime import datetime\ndatetime.now()"),
    (floors.imports_of_io_packages, "ice/agent.py", "from stun.aio import UdpNetwork"),
    (floors.imports_of_io_packages, "ice/agent.py", "from stun import aio"),
    (floors.imports_of_io_packages, "signalling/libp2p/relay.py", "from .aio import host"),
    (floors.too_long, "stun/message.py", "\n" * 401),
    (floors.long_functions, "stun/message.py", "def long():\n" + "    pass\n" * 61),
    (floors.long_functions, "stun/message.py", "class A:\n  async def long(self):\n" + "    pass\n" * 61),
]


@pytest.mark.parametrize(("check", "path", "text"), FAULTS)
def test_a_planted_fault_is_found(check: Check, path: str, text: str) -> None:
    assert len(list(check(planted(path, text)))) == 1


FINE: list[tuple[Check, str, str]] = [
    (floors.climbing_imports, "ice/agent.py", "import stun.message\nfrom turn import errors\nfrom ice import pair"),
    (floors.climbing_imports, "signalling/rendezvous.py", "import ice"),
    (floors.climbing_imports, "lastresort/cli.py", "import browser_demo"),
    (floors.climbing_imports, "lastresort/__init__.py", "import importlib\nname = 'x'\nimportlib.import_module(name)"),
    (floors.climbing_imports, "ice/__init__.py", "import importlib\nimportlib.import_module(f'{__name__}.{room}')"),
    (floors.climbing_imports, "ice/aio/__init__.py", "late_names(__name__, {'a': '.a', 'b': 'turn.b'})"),
    (floors.climbing_imports, "stun/late.py", "import importlib\nimportlib.import_module(home, package)"),
    (floors.strangers, "webrtc_bridge/compat.py", "import aiortc"),
    (floors.io_in_cores, "stun/aio.py", "import asyncio, socket, time"),
    (floors.io_in_cores, "ice/aio/session.py", "import asyncio"),
    (floors.io_in_cores, "stun/__main__.py", "import asyncio"),
    (floors.io_in_cores, "signalling/rendezvous.py", "import asyncio"),
    (floors.io_in_cores, "webrtc_bridge/gateway.py", "import asyncio"),
    (floors.io_in_cores, "ice/agent.py", "import random\nfrom random import Random\nx: random.Random"),
    (floors.imports_of_io_packages, "ice/__init__.py", "from ice.aio import connect"),
    (floors.imports_of_io_packages, "ice/aio/session.py", "from stun.aio import Driver"),
    (floors.too_long, "stun/message.py", "\n" * 400),
    (floors.long_functions, "stun/message.py", 'def f():\n    """A\n' + "\n" * 70 + '    """\n    return 1'),
]


@pytest.mark.parametrize(("check", "path", "text"), FINE)
def test_what_the_rules_allow_is_no_fault(check: Check, path: str, text: str) -> None:
    assert list(check(planted(path, text))) == []


def test_missing_parts_are_found(tmp_path: Path) -> None:
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        (tmp_path / package / "py.typed").touch()
    for package, root in floors.ERROR_ROOTS.items():
        (tmp_path / package / "errors.py").write_text(
            f"class {root}(Exception): pass\nclass Other({root}): pass\nclass Reason(enum.StrEnum): pass\n"
        )
    assert list(floors.missing_parts(tmp_path)) == []

    (tmp_path / "ice" / "py.typed").unlink()
    (tmp_path / "turn" / "errors.py").unlink()
    (tmp_path / "stun" / "errors.py").write_text("class StunError(Exception): pass\nclass Stray(Exception): pass\n")
    assert list(floors.missing_parts(tmp_path)) == [
        "ice/py.typed is missing",
        "stun/errors.py: Stray does not derive from StunError",
        "turn/errors.py is missing",
    ]


def test_a_loose_test_folder_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "stun"
    folder.mkdir(parents=True)
    (folder / "test_message.py").touch()
    assert list(floors.loose_test_folders(tmp_path / "tests")) == ["tests/stun has no __init__.py"]
    (folder / "__init__.py").touch()
    assert list(floors.loose_test_folders(tmp_path / "tests")) == []
