from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ice.candidate import Candidate, CandidateType
from ice.description import Description, EndOfCandidates
from ice.exchange import ExchangeError, Item, decode_item, encode_item
from stun.address import TransportAddress

PWD = "p" * 24
CANDIDATE = Candidate("1", 1, "udp", 2130706431, TransportAddress("192.0.2.1", 5000), CandidateType.HOST)
ITEMS: list[Item] = [
    Description("abcd", PWD),
    Description("abcd", PWD, lite=True, options=()),
    Description("abcd", PWD, pacing=0.02),
    CANDIDATE,
    Candidate(
        foundation="2",
        component=1,
        transport="udp",
        priority=100,
        address=TransportAddress("2001:db8::1", 5000),
        type=CandidateType.SERVER_REFLEXIVE,
        related_address=TransportAddress("::", 9),
        extensions=(("generation", "0"),),
    ),
    EndOfCandidates("abcd"),
]


def description(**fields: object) -> str:
    return json.dumps({"type": "description", "ufrag": "abcd", "pwd": PWD, **fields})


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: type(item).__name__)
def test_an_item_survives_the_line(item: Item) -> None:
    line = encode_item(item)
    assert "\n" not in line
    assert decode_item(line) == decode_item(line.encode()) == item


def test_a_type_of_the_future_is_passed_over() -> None:
    assert decode_item('{"type":"restart","ufrag":"abcd"}') is None
    assert decode_item("{}") is None


@pytest.mark.parametrize(
    "line",
    [
        "",
        "hello",
        "[]",
        "12",
        '"description"',
        '{"type":"description"}',
        '{"type":"description","ufrag":"abcd","pwd":"short"}',
        description(ufrag="a b c"),
        description(pacing="50"),
        description(pacing=True),
        description(pacing=-1),
        description(pacing=1e999),
        description(options="ice2"),
        description(options=[1]),
        description(options=["x"] * 99),
        '{"type":"candidate"}',
        '{"type":"candidate","candidate":7}',
        '{"type":"candidate","candidate":"candidate:1 1 udp"}',
        '{"type":"end-of-candidates","ufrag":null}',
        "[" * 100_000,
    ],
)
def test_a_bad_line_is_one_error(line: str) -> None:
    with pytest.raises(ExchangeError):
        decode_item(line)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_no_line_raises_anything_else(line: bytes | str) -> None:
    try:
        decode_item(line)
    except ExchangeError:
        pass


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
types = st.sampled_from(["description", "candidate", "end-of-candidates"])


@given(types, st.dictionaries(st.sampled_from(["ufrag", "pwd", "lite", "options", "candidate"]), json_values))
def test_no_object_raises_anything_else(kind: str, fields: dict[str, object]) -> None:
    try:
        item = decode_item(json.dumps({**fields, "type": kind}))
    except ExchangeError:
        return
    assert item is not None
    assert decode_item(encode_item(item)) == item
