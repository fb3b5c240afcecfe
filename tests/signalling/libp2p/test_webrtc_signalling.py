"""The /webrtc-signaling conversation, with the messages that js-libp2p and others were seen to send."""

from __future__ import annotations

import json

import pytest

from signalling.errors import DecodeError
from signalling.libp2p.host_config import SignallingConfig
from signalling.libp2p.webrtc_signalling import (
    EndOfCandidates,
    IceCandidate,
    MessageType,
    RemoteDescription,
    SignallingFailed,
    SignallingItem,
    SignallingMessage,
    SignallingRole,
    SignallingSession,
    answer_message,
    candidate_message,
    offer_message,
    parse_candidate,
)

OFFER, ANSWER = MessageType.SDP_OFFER, MessageType.SDP_ANSWER
CHROMIUM = (
    '{"candidate":"candidate:1 1 udp 2113937151 abc.local 5 typ host generation 0 ufrag X network-cost 999",'
    '"sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"X"}'
)
NODE = (
    '{"candidate":"a=candidate:1 1 UDP 2122317823 192.0.2.1 5 typ host","sdpMLineIndex":null,"sdpMid":"0",'
    '"usernameFragment":null}'
)


def session(role: SignallingRole = SignallingRole.LISTENER, **limits: int) -> SignallingSession:
    return SignallingSession(role, SignallingConfig(**limits))


def heard(session: SignallingSession, *messages: bytes) -> list[SignallingItem]:
    for message in messages:
        session.receive_message(message)
    return drained(session)


def drained(session: SignallingSession) -> list[SignallingItem]:
    items = []
    while (item := session.next_event()) is not None:
        items.append(item)
    return items


def sent(session: SignallingSession) -> list[bytes]:
    messages = []
    while (effect := session.next_effect()) is not None:
        messages.append(effect.message)
    return messages


def raw(data: str | None, kind: int | None = MessageType.ICE_CANDIDATE) -> bytes:
    return SignallingMessage(type=kind, data=data).serialize()


def test_the_type_is_written_even_when_it_is_zero() -> None:
    assert offer_message("v=0") == b"\x08\x00\x12\x03v=0"
    assert answer_message("v=0") == b"\x08\x01\x12\x03v=0"
    assert candidate_message(None) == b"\x08\x02\x12\x04null"


def test_candidates_of_browsers_and_of_node_are_read_as_they_are() -> None:
    browser, node = parse_candidate(CHROMIUM), parse_candidate(NODE)
    assert isinstance(browser, IceCandidate)
    assert (browser.sdp_mid, browser.sdp_mline_index, browser.username_fragment) == ("0", 0, "X")
    assert isinstance(node, IceCandidate)
    assert node.candidate.startswith("a=candidate:")
    assert (node.sdp_mid, node.sdp_mline_index, node.username_fragment) == ("0", None, None)
    assert node.to_json() == json.loads(NODE)


@pytest.mark.parametrize("data", ["null", '""', "", "  ", '{"candidate":""}'])
def test_every_way_to_say_no_more_is_understood(data: str) -> None:
    assert parse_candidate(data) == EndOfCandidates()


@pytest.mark.parametrize("data", ["{", "[]", "1", '"x"', "{}", '{"candidate":1}', "[" * 100_000, "\x00"])
def test_what_is_no_candidate_is_an_error(data: str) -> None:
    with pytest.raises(DecodeError):
        parse_candidate(data)


def test_members_of_a_strange_type_count_as_absent() -> None:
    odd = parse_candidate('{"candidate":"c","sdpMid":5,"sdpMLineIndex":true,"usernameFragment":[]}')
    assert odd == IceCandidate(candidate="c")


def test_a_whole_conversation() -> None:
    dialler, listener = session(SignallingRole.DIALLER), session()
    candidate = IceCandidate(candidate="candidate:1", sdp_mid="0")
    dialler.send_description(OFFER, "the offer")
    dialler.send_candidate(candidate)
    assert heard(listener, *sent(dialler)) == [RemoteDescription(OFFER, "the offer"), candidate]
    listener.send_description(ANSWER, "the answer")
    listener.send_candidate(candidate)
    listener.send_candidate(None)
    assert heard(dialler, *sent(listener)) == [RemoteDescription(ANSWER, "the answer"), candidate]
    dialler.receive_eof()
    assert drained(dialler) == [EndOfCandidates()]
    assert dialler.ended
    assert not listener.ended


def test_our_side_keeps_the_order_too() -> None:
    dialler, listener = session(SignallingRole.DIALLER), session()
    with pytest.raises(RuntimeError):
        listener.send_description(ANSWER, "before the offer")
    with pytest.raises(RuntimeError):
        dialler.send_candidate(None)
    with pytest.raises(RuntimeError):
        dialler.send_description(ANSWER, "of the wrong kind")
    dialler.send_description(OFFER, "o")
    with pytest.raises(RuntimeError):
        dialler.send_description(OFFER, "again")


@pytest.mark.parametrize(
    ("role", "messages"),
    [
        (SignallingRole.LISTENER, [answer_message("a")]),
        (SignallingRole.DIALLER, [offer_message("o")]),
        (SignallingRole.LISTENER, [offer_message("o"), offer_message("o")]),
        (SignallingRole.LISTENER, [offer_message("o"), answer_message("a")]),
        (SignallingRole.DIALLER, [answer_message("a"), answer_message("a")]),
    ],
)
def test_a_description_that_is_not_due_ends_the_conversation(role: SignallingRole, messages: list[bytes]) -> None:
    conversation = session(role)
    items = heard(conversation, *messages)
    assert isinstance(items[-1], SignallingFailed)
    assert conversation.ended
    assert heard(conversation, candidate_message(IceCandidate(candidate="late"))) == []


def test_a_stream_that_ends_before_the_description_has_failed() -> None:
    conversation = session()
    conversation.receive_eof()
    conversation.receive_eof()
    assert [type(item) for item in drained(conversation)] == [SignallingFailed]


def test_early_candidates_wait_for_the_description_and_are_not_too_many() -> None:
    conversation = session(max_early_candidates=3)
    early = [IceCandidate(candidate=f"c{number}") for number in range(10)]
    assert heard(conversation, *map(candidate_message, early)) == []
    assert heard(conversation, offer_message("o")) == [RemoteDescription(OFFER, "o"), *early[:3]]
    assert conversation.counters == {"too many early candidates": 7}


def test_a_thousand_candidates_are_cut_and_the_conversation_goes_on() -> None:
    conversation = session(max_candidates=256)
    heard(conversation, offer_message("o"))
    many = [candidate_message(IceCandidate(candidate=f"bogus {number}")) for number in range(1000)]
    assert len(heard(conversation, *many)) == 256
    assert conversation.counters["too many candidates"] == 744
    assert heard(conversation, raw("null")) == [EndOfCandidates()]
    assert not conversation.ended


def test_strange_messages_are_passed_over_up_to_a_point() -> None:
    conversation = session(max_ignored=4)
    heard(conversation, offer_message("o"))
    strange = [raw("x", 9), raw(None, None), raw("no json"), b"\xff\xff\xff"]
    assert heard(conversation, *strange) == []
    assert not conversation.ended
    assert heard(conversation, raw("py-libp2p is done", MessageType.ICE_DONE)) == [EndOfCandidates()]
    assert [type(item) for item in heard(conversation, raw("x", 9))] == [SignallingFailed]
