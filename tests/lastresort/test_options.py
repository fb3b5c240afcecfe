"""Options whose values cannot be used are wrong usage, found before anything starts."""

from __future__ import annotations

import io
from typing import cast

import pytest
from pyee.asyncio import AsyncIOEventEmitter

from browser_demo.peer.native import NativePeer
from lastresort import cli
from lastresort.commands import peer
from lastresort.output import Output, one_line

PEER = "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--port", "70000"], "70000 is no port: 0 to 65535"),
        (["demo", "--port", "-1"], "-1 is no port: 0 to 65535"),
        (["demo", "--port", "http"], "http is no port: 0 to 65535"),
        (["demo", "--share", "/does/not/exist"], "/does/not/exist is not a folder"),
        (["peer", "--share", "/does/not/exist"], "/does/not/exist is not a folder"),
        (["peer", "--stun", "xx:yy"], "xx:yy is no STUN server"),
        (["peer", "--stun", "stun:"], "stun: is no STUN server"),
        (["connect", "--stun", "http://example.org", PEER], "http://example.org is no STUN server"),
        (["connect", "--ping", "0", PEER], "0 is no number of pings: 1 or more"),
        (["connect", "--ping", "many", PEER], "many is no number of pings: 1 or more"),
        (["relay", "--circuit-seconds", "-1"], "-1 is no limit: 0 or more"),
        (["relay", "--circuit-bytes", "-1"], "-1 is no limit: 0 or more"),
    ],
)
def test_values_that_cannot_be_used(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        cli.main(arguments)

    assert ending.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("good evening", "good evening"),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{GRINNING FACE}", "caf\xe9 \N{GRINNING FACE}"),
        ("a\n- 12D3KooWnobody", "a\\n- 12D3KooWnobody"),
        ("\x1b]0;title\x07\x9b2J", "\\x1b]0;title\\x07\\x9b2J"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}fdp.exe\N{LINE SEPARATOR}", "\\u202efdp.exe\\u2028"),
    ],
)
def test_what_a_peer_says_moves_no_cursor(text: str, shown: str) -> None:
    assert one_line(text) == shown


@pytest.mark.parametrize("server", ["stun:stun.example.org", "stun:192.0.2.1:3479", "stun.example.org:3478"])
def test_stun_servers_as_ice_takes_them(server: str) -> None:
    assert cli.build_parser().parse_args(["connect", "--stun", server, PEER]).stun == [server]


@pytest.mark.parametrize(("as_json", "shown"), [(False, "someone: a\\nb\n"), (True, '"text": "a\\nb"')])
def test_a_chat_is_one_line_for_people_and_whole_for_programs(as_json: bool, shown: str) -> None:
    stream = io.StringIO()
    events = AsyncIOEventEmitter()
    peer._report(cast(NativePeer, events), Output(as_json=as_json, stream=stream))
    events.emit("chat", "someone", "a\nb")

    assert shown in stream.getvalue()
