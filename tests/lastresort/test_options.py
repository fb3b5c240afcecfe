"""Options whose values cannot be used are wrong usage, found before anything starts."""

from __future__ import annotations

import pytest

from lastresort import cli
from lastresort.output import one_line

PEER = "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--port", "70000"], "70000 is no port: 0 to 65535"),
        (["demo", "--port", "-1"], "-1 is no port: 0 to 65535"),
        (["demo", "--port", "http"], "http is no port: 0 to 65535"),
        (["demo", "--share", "/does/not/exist"], "/does/not/exist is not a folder"),
        (["peer", "--share", "/does/not/exist"], "/does/not/exist is not a folder"),
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
