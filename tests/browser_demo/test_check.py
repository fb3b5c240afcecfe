"""What the check makes of what it saw: it has to fail whenever a direct path did not carry the bytes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from browser_demo import browser, cli, namespace
from browser_demo.check import MOST_RELAYED, _judge, relayed_bytes, run_check
from browser_demo.config import DemoConfig, ServerConfig
from browser_demo.errors import CheckFailed, DemoError
from signalling.libp2p.aio.relay_service import RelaySnapshot
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.relay import RelayStatistics

FILES = (("to the peer", 5_000_000, "aa"), ("to the page", 5_000_000, "bb"))
MARKS = {"start": 100.0, "relayed": 110.0, "answered": 150.0, "connected": 170.0, "direct": 200.0}


def statistics(local: str = "host", remote: str = "prflx") -> dict[str, Any]:
    pair = {"local": {"type": local, "address": "a:1"}, "remote": {"type": remote, "address": "b:2"}}
    return {"selected": pair, "marks": MARKS, "sent": 6_000_000, "received": 6_000_000}


def test_a_direct_path_passes_with_its_times() -> None:
    report = _judge(statistics(), FILES, 4000)

    assert (report.signalling_ms, report.checks_ms, report.direct_ms) == (50, 20, 30)
    assert report.types == "host <-> prflx"
    assert json.loads(json.dumps(report.to_json()))["relay_bytes"] == 4000


@pytest.mark.parametrize("types", [("relay", "host"), ("host", "relay")])
def test_a_relayed_pair_fails(types: tuple[str, str]) -> None:
    with pytest.raises(CheckFailed, match="relayed"):
        _judge(statistics(*types), FILES, 4000)


def test_no_selected_pair_fails() -> None:
    with pytest.raises(CheckFailed, match="no selected"):
        _judge(statistics() | {"selected": None}, FILES, 4000)


def test_bytes_through_the_relay_fail() -> None:
    with pytest.raises(CheckFailed, match="more than signalling"):
        _judge(statistics(), FILES, MOST_RELAYED + 1)


def test_bytes_of_a_circuit_that_is_closed_count_too() -> None:
    peer = PeerId.from_public_key(PrivateKey.generate().public_key)
    carried = RelayStatistics(bytes_relayed=5_000_000)

    assert relayed_bytes(RelaySnapshot(reservations=(), circuits=(), statistics=carried)) == 5_000_000
    assert (
        relayed_bytes(RelaySnapshot(reservations=(), circuits=((peer, peer, 3, 4),), statistics=carried)) == 5_000_007
    )


async def test_without_chromium_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LASTRESORT_CHROMIUM", raising=False)
    monkeypatch.setattr(browser.shutil, "which", lambda name: None)

    with pytest.raises(DemoError, match="Debian package chromium"):
        await run_check(DemoConfig(server=ServerConfig(port=0)))


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    cli.add_options(parser)
    return parser.parse_args(arguments)


async def test_a_failed_check_is_status_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def fail(config: DemoConfig, *, screenshot: Path | None) -> None:
        raise CheckFailed("no path")

    monkeypatch.setattr(cli, "run_check", fail)
    monkeypatch.setattr(cli, "outside_address", lambda: "192.0.2.1")

    assert await cli.run_demo(parse("--check")) == 1
    assert "check failed: no path" in capsys.readouterr().err
    assert await cli.run_demo(parse("--check", "--json")) == 1
    assert json.loads(capsys.readouterr().out) == {"event": "checked", "ok": False, "message": "no path"}


async def test_without_root_a_machine_with_loopback_only_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LASTRESORT_IN_NAMESPACE", raising=False)
    monkeypatch.setattr(namespace.os, "geteuid", lambda: 1000)

    with pytest.raises(DemoError, match="as root"):
        await namespace.rerun_in_namespace(["--check"])


async def test_a_namespace_without_an_address_does_not_make_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LASTRESORT_IN_NAMESPACE", "x")

    with pytest.raises(DemoError, match="no usable address"):
        await namespace.rerun_in_namespace(["--check"])
