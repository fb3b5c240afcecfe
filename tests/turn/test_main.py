"""``python -m turn``, which ``lastresort turn`` is."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

import turn
from turn.__main__ import SECRET_VARIABLE, main
from turn.credentials import rest_credentials

FILE = """
realm = "example.org"
drain_seconds = 0.2
[listen]
udp = ["127.0.0.1:0"]
tcp = ["127.0.0.1:0"]
[peers]
allow = ["127.0.0.0/8"]
[credentials]
shared_secrets = ["north"]
[metrics]
listen = "127.0.0.1:0"
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "turn.toml"
    path.write_text(FILE)
    return str(path)


def test_credentials(file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["credentials", "--config", file, "--name", "carol", "--lifetime", "60", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expiry, _, name = found["username"].partition(":")
    assert (name, found["ttl"]) == ("carol", 60)
    assert 50 < int(expiry) - time.time() <= 60
    assert found["password"] == rest_credentials("north", "carol", 60, int(expiry) - 60).password
    monkeypatch.setenv(SECRET_VARIABLE, "south")
    assert main(["credentials"]) == 0
    assert "password" in capsys.readouterr().out


def test_what_is_wrong_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)
    (tmp_path / "bad.toml").write_text('realm = "x"\nrelm = "y"')
    for arguments, problem in (
        (["credentials"], "no shared secret"),
        (["serve", "--config", str(tmp_path / "bad.toml")], "unknown setting: relm"),
        (["serve", "--config", str(tmp_path / "none.toml")], "No such file"),
        (["serve", "--user", "alice"], "--user needs NAME:PASSWORD"),
    ):
        assert main(arguments) == 1
        assert problem in capsys.readouterr().err


def test_a_file_is_checked(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--config", file, "--check"]) == 0
    assert "good" in capsys.readouterr().out


async def test_serving_until_a_signal(file: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "turn", "serve", "--config", file, "--json", "--verbose"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        started = json.loads(await process.stdout.readline())
        assert started["metrics"].startswith("http://127.0.0.1:")
        user = rest_credentials("north", "carol", 60, time.time())
        config = turn.TurnServerConfig(url=f"turn:{started['udp'][0]}", username=user.username, password=user.password)
        async with turn.allocate(config) as allocation:
            assert allocation.relayed
        process.send_signal(signal.SIGTERM)
        _, errors = await process.communicate()
    assert process.returncode == 0
    lines = [json.loads(line) for line in errors.decode().splitlines()]
    messages = [line["message"] for line in lines]
    assert messages == ["allocation created", "allocation ended", "draining"]
    assert lines[1]["reason"] == "deleted by its client"
    assert lines[0]["username"] == user.username
