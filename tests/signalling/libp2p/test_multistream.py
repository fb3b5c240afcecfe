from __future__ import annotations

import pytest

from signalling.libp2p.config import MultistreamConfig
from signalling.libp2p.multistream import Dialer, Failed, Listener, Negotiated, encode_token

HEADER = encode_token("/multistream/1.0.0")


def sent(machine: Dialer | Listener) -> bytes:
    data = b""
    while (effect := machine.next_effect()) is not None:
        data += effect
    return data


def greeted(*supported: str, config: MultistreamConfig | None = None) -> Listener:
    listener = Listener(supported, 0.0, config)
    listener.receive_data(HEADER, 0.0)
    assert sent(listener) == HEADER
    return listener


def test_tokens_have_the_specification_s_bytes() -> None:
    assert HEADER.hex() == "132f6d756c746973747265616d2f312e302e300a"
    assert encode_token("na").hex() == "036e610a"
    assert encode_token("ls").hex() == "036c730a"
    assert encode_token("/noise").hex() == "072f6e6f6973650a"
    assert encode_token("/libp2p/dcutr")[0] == 0x0E


def test_header_and_first_proposal_leave_in_one_flight() -> None:
    dialer = Dialer(["/a", "/b"], 0.0)
    assert sent(dialer) == HEADER + encode_token("/a")
    dialer.receive_data(HEADER + encode_token("/a") + b"payload", 0.0)
    assert dialer.next_event() == Negotiated("/a", b"payload")
    assert dialer.done
    assert dialer.next_timeout() is None


def test_a_refused_proposal_is_followed_by_the_next() -> None:
    dialer = Dialer(["/a", "/b"], 0.0)
    sent(dialer)
    dialer.receive_data(HEADER + encode_token("na"), 0.0)
    assert sent(dialer) == encode_token("/b")
    dialer.receive_data(encode_token("/b"), 0.0)
    assert dialer.next_event() == Negotiated("/b", b"")


def test_a_dialer_without_another_proposal_fails() -> None:
    dialer = Dialer(["/a"], 0.0)
    dialer.receive_data(HEADER + encode_token("na"), 0.0)
    assert dialer.next_event() == Failed("the peer speaks none of /a")


def test_a_dialer_refuses_an_answer_that_is_no_answer() -> None:
    dialer = Dialer(["/a", "/b"], 0.0)
    dialer.receive_data(HEADER + encode_token("/b"), 0.0)
    assert isinstance(dialer.next_event(), Failed)


def test_a_listener_answers_in_one_flight_and_keeps_the_payload() -> None:
    listener = Listener({"/a"}, 0.0)
    assert sent(listener) == b""
    listener.receive_data(HEADER + encode_token("/a") + b"payload", 0.0)
    assert sent(listener) == HEADER + encode_token("/a")
    assert listener.next_event() == Negotiated("/a", b"payload")


def test_simultaneous_connect_is_refused_without_an_extra_round_trip() -> None:
    listener = Listener({"/noise"}, 0.0)
    listener.receive_data(HEADER + encode_token("/libp2p/simultaneous-connect") + encode_token("/noise"), 0.0)
    assert sent(listener) == HEADER + encode_token("na") + encode_token("/noise")
    assert listener.next_event() == Negotiated("/noise", b"")


def test_the_list_is_told_to_who_asks() -> None:
    listener = greeted("/a", "/b")
    listener.receive_data(encode_token("ls"), 0.0)
    assert sent(listener) == b"\x09" + encode_token("/a") + encode_token("/b") + b"\n"
    assert listener.next_event() is None


@pytest.mark.parametrize(
    "data",
    [
        encode_token("/multistream/2.0.0"),
        encode_token("na"),
        b"\x00",
        b"\x01a",
        b"\x02\xff\n",
        b"\x81\x08" + b"a" * 10,
        b"\xff" * 9,
        b"GET / HTTP/1.1\r\n\r\n" * 10,
    ],
)
def test_another_first_token_ends_it(data: bytes) -> None:
    for machine in (Listener({"/a"}, 0.0), Dialer(["/a"], 0.0)):
        machine.receive_data(data, 0.0)
        assert isinstance(machine.next_event(), Failed)
        machine.receive_data(HEADER + encode_token("/a"), 0.0)
        assert machine.next_event() is None


def test_proposals_are_counted() -> None:
    listener = greeted("/a", config=MultistreamConfig(max_proposals=3))
    listener.receive_data(encode_token("/x") * 3, 0.0)
    assert sent(listener) == encode_token("na") * 3
    listener.receive_data(encode_token("/x"), 0.0)
    assert listener.next_event() == Failed("the peer proposed too many protocols")
    assert sent(listener) == b""


def test_the_end_of_the_stream_ends_it() -> None:
    dialer = Dialer(["/a"], 0.0)
    dialer.receive_data(b"", 0.0)
    assert isinstance(dialer.next_event(), Failed)


def test_it_ends_at_its_deadline_and_not_before() -> None:
    dialer = Dialer(["/a"], 100.0, MultistreamConfig(timeout=5.0))
    deadline = dialer.next_timeout()
    assert deadline is not None
    assert deadline.at == 105.0
    dialer.handle_timeout(104.9)
    assert dialer.next_event() is None
    dialer.handle_timeout(105.0)
    assert isinstance(dialer.next_event(), Failed)


@pytest.mark.parametrize("protocols", [[], [""], ["/a\n"], ["na"], ["ls"]])
def test_what_cannot_be_proposed_is_the_callers_mistake(protocols: list[str]) -> None:
    with pytest.raises(ValueError):
        Dialer(protocols, 0.0)
