"""The page's messages: what is read, and what a page is told about one that cannot be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.webrtc_signalling import IceCandidate
from webrtc_bridge.gateway.messages import Answer, Bye, CandidateMessage, Hello, MessageError, Offer, parse_message

PEER = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
MAX_SDP = 1000


def parse(**message: Any) -> object:
    return parse_message(json.dumps(message), MAX_SDP)


def test_every_message_of_a_page() -> None:
    assert parse(type="hello", name="ada", extra=1) == Hello("ada")
    offer = parse(type="offer", peer=PEER, session="s-1", sdp="v=0")
    assert offer == Offer("s-1", PeerId.parse(PEER), "v=0")
    assert parse(type="answer", session="s", sdp="v=0") == Answer("s", "v=0")
    assert parse(type="bye", session="s", reason="connected") == Bye("s", "connected")
    assert parse(type="bye", session="s") == Bye("s", "")


def test_candidates_as_browsers_write_them() -> None:
    value = {"candidate": "candidate:1", "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "u"}
    assert parse(type="candidate", session="s", candidate=value) == CandidateMessage(
        "s", IceCandidate(candidate="candidate:1", sdp_mid="0", sdp_mline_index=0, username_fragment="u")
    )
    assert parse(type="candidate", session="s", candidate=None) == CandidateMessage("s", None)
    assert parse(type="candidate", session="s", candidate={"candidate": ""}) == CandidateMessage("s", None)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad-json"),
        ("{", "bad-json"),
        ("[" * 100_000, "bad-json"),
        ("null", "bad-message"),
        ("[]", "bad-message"),
        ("{}", "bad-message"),
        ('{"type": 1}', "bad-message"),
        ('{"type": "quit"}', "unknown-type"),
        ('{"type": "hello"}', "bad-message"),
        ('{"type": "hello", "name": ""}', "bad-message"),
        ('{"type": "hello", "name": 7}', "bad-message"),
        ('{"type": "hello", "name": "\\ud800"}', "bad-message"),
        (json.dumps({"type": "hello", "name": "x" * 201}), "bad-message"),
        (json.dumps({"type": "offer", "peer": "nobody", "session": "s", "sdp": "v=0"}), "bad-message"),
        (json.dumps({"type": "offer", "peer": PEER, "session": "s"}), "bad-message"),
        (json.dumps({"type": "offer", "peer": PEER, "session": "s", "sdp": "x" * 1001}), "bad-message"),
        (json.dumps({"type": "offer", "peer": PEER, "session": "", "sdp": "v=0"}), "bad-message"),
        (json.dumps({"type": "offer", "peer": PEER, "session": "a b", "sdp": "v=0"}), "bad-message"),
        (json.dumps({"type": "offer", "peer": PEER, "session": "s" * 65, "sdp": "v=0"}), "bad-message"),
        (json.dumps({"type": "answer", "session": "s", "sdp": None}), "bad-message"),
        (json.dumps({"type": "candidate", "session": "s"}), "bad-message"),
        (json.dumps({"type": "candidate", "session": "s", "candidate": "text"}), "bad-message"),
        (json.dumps({"type": "candidate", "session": "s", "candidate": {}}), "bad-message"),
        (json.dumps({"type": "candidate", "session": "s", "candidate": {"candidate": "x" * 1025}}), "bad-message"),
        (json.dumps({"type": "bye", "session": "s", "reason": 3}), "bad-message"),
    ],
)
def test_what_a_page_is_told(text: str, code: str) -> None:
    with pytest.raises(MessageError) as caught:
        parse_message(text, MAX_SDP)
    assert caught.value.code == code
    told = caught.value.to_json()
    assert told["type"] == "error"
    assert told["message"]


def test_an_error_names_the_session_when_that_could_be_read() -> None:
    with pytest.raises(MessageError) as caught:
        parse(type="answer", session="s7", sdp=1)
    assert caught.value.to_json()["session"] == "s7"
