from __future__ import annotations

import argparse
import io
import json
import stat
from pathlib import Path

import pytest

import lastresort
from lastresort import cli
from lastresort.commands.relay import relay_config
from lastresort.failures import explain
from lastresort.identity import load_identity
from lastresort.output import Output
from signalling.errors import DialError, KeyDecodeError, NegotiationError

PEER = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
COMMANDS = ("demo", "relay", "peer", "connect", "nat")


def help_of(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ending:
        cli.main([*arguments, "--help"])
    assert ending.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_with_examples_and_names_the_events(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(command, capsys=capsys)

    assert "examples:" in text
    assert "--json" in text
    assert text.count(f"lastresort {command}") >= 3


def test_the_first_help_shows_where_to_start(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys=capsys)

    assert "lastresort demo" in text
    assert all(f"    {command}" in text for command in (*COMMANDS, "stun"))


def test_stun_has_its_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert "STUN server" in help_of("stun", capsys=capsys)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["connect"],
        ["connect", "not a multiaddr"],
        ["connect", "/ip4/192.0.2.1/tcp/4001"],
        ["relay", "--listen", "/ip4/300.0.0.1/tcp/1"],
        ["peer", "--relay", "/ip4/192.0.2.1/tcp/4001"],
        ["peer", "--share", "/does/not/exist"],
        ["demo", "--host", "example.org"],
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        cli.main(arguments)

    assert ending.value.code == 2
    assert "usage: lastresort" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])

    assert capsys.readouterr().out.startswith("lastresort 0.")


def test_relay_limits_follow_the_options() -> None:
    def config(*arguments: str) -> tuple[int, int]:
        options = cli.build_parser().parse_args(["relay", *arguments])
        limits = relay_config(options)
        return limits.circuit_duration, limits.circuit_data

    assert config() == (3600, 64 * 1024 * 1024)
    assert config("--public") == (120, 128 * 1024)
    assert config("--circuit-seconds", "5", "--circuit-bytes", "0") == (5, 0)


# ---------------------------------------------------------------- output


def outputs(as_json: bool) -> tuple[Output, io.StringIO, io.StringIO]:
    stream, errors = io.StringIO(), io.StringIO()
    return Output(as_json=as_json, stream=stream, errors=errors), stream, errors


def test_events_are_lines_for_people() -> None:
    output, stream, _ = outputs(as_json=False)
    output.event("ready", "it is up", peer="x")
    output.event("silent", peer="x")

    assert stream.getvalue() == "it is up\n"


def test_events_are_json_lines_for_programs() -> None:
    output, stream, errors = outputs(as_json=True)
    output.event("ready", "it is up", peer="x")
    output.event("chat", "x: y", text="two\nlines")
    output.error("broken", "mend it")

    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"event": "ready", "peer": "x"},
        {"event": "chat", "text": "two\nlines"},
        {"event": "error", "message": "broken", "hint": "mend it"},
    ]
    assert errors.getvalue() == ""


# ---------------------------------------------------------------- failures


def test_layers_of_a_failed_dial_are_peeled_off() -> None:
    circuit = f"/ip4/192.0.2.1/tcp/1/p2p/{PEER}/p2p-circuit"
    inner = f"cannot reach {PEER}: {circuit}/p2p/{PEER}: the relay answered NO_RESERVATION"
    error = DialError(f"cannot reach {PEER}: …", {f"{circuit}/webrtc/p2p/{PEER}": inner})

    message, hint = explain(error)

    assert message == f"cannot reach {PEER}: the relay answered NO_RESERVATION"
    assert hint is not None
    assert "peer --relay" in hint


@pytest.mark.parametrize(
    ("error", "message", "remedy"),
    [
        (DialError("cannot reach x", {"/a": "refused"}), "cannot reach x: refused", "running"),
        (NegotiationError("speaks none"), "speaks none", "does not serve"),
        (OSError(98, "Address already in use"), "[Errno 98] Address already in use", "--listen"),
        (TimeoutError(), "no answer in time", None),
        (OSError(13, "Permission denied"), "[Errno 13] Permission denied", None),
    ],
)
def test_failures_come_with_a_remedy(error: Exception, message: str, remedy: str | None) -> None:
    told, hint = explain(error)

    assert told == message
    assert (hint is None) if remedy is None else (hint is not None and remedy in hint)


# ---------------------------------------------------------------- identity


def test_an_identity_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    first = load_identity(path)

    assert load_identity(path).public_key == first.public_key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_identity(None).public_key != load_identity(None).public_key


def test_a_file_that_holds_no_key_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"precious")

    with pytest.raises(KeyDecodeError, match="holds no libp2p private key"):
        load_identity(path)
    assert path.read_bytes() == b"precious"


# ---------------------------------------------------------------- the front door


def test_every_name_of_the_front_door_is_there() -> None:
    for name in lastresort.__all__:
        assert getattr(lastresort, name) is not None
    assert set(lastresort.__all__) <= set(dir(lastresort))
    with pytest.raises(AttributeError):
        lastresort.nonsense  # noqa: B018


def test_options_of_every_command_include_json() -> None:
    parser = cli.build_parser()
    choices = next(action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    assert choices is not None
    for name in COMMANDS:
        assert "--json" in choices[name]._option_string_actions
