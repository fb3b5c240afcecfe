from __future__ import annotations

from dataclasses import dataclass

import pytest

from signalling.errors import DecodeError, MessageTooLarge
from signalling.libp2p.wire import DelimitedReader, Kind, Message, delimit, optional, repeated, required


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner(Message):
    id: bytes = required(1, Kind.BYTES)
    addrs: tuple[bytes, ...] = repeated(2, Kind.BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer(Message):
    type: int | None = optional(1, Kind.ENUM)
    peer: Inner | None = optional(2, Inner)
    text: str | None = optional(3, Kind.STRING)
    flag: bool | None = optional(4, Kind.BOOL)
    nonce: int | None = optional(5, Kind.FIXED64)
    names: tuple[str, ...] = repeated(6, Kind.STRING)
    peers: tuple[Inner, ...] = repeated(7, Inner)
    status: int | None = optional(8, Kind.ENUM)


def test_a_zero_that_is_set_is_written_and_one_that_is_not_is_absent() -> None:
    assert Outer(type=0).serialize() == b"\x08\x00"
    assert Outer().serialize() == b""
    assert Outer.parse(b"\x08\x00").type == 0
    assert Outer.parse(b"").type is None


def test_circuit_status_has_the_specification_s_bytes() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Hop(Message):
        type: int | None = optional(1, Kind.ENUM)
        status: int | None = optional(5, Kind.ENUM)

    assert delimit(Hop(type=0).serialize()).hex() == "020800"
    assert delimit(Hop(type=2, status=100).serialize()).hex() == "0408022864"
    assert delimit(Hop(type=2, status=204).serialize()).hex() == "05080228cc01"


def test_every_kind_survives_the_wire() -> None:
    inner = Inner(id=b"me", addrs=(b"a", b"", b"b"))
    message = Outer(
        type=3, peer=inner, text="naïve", flag=False, nonce=2**64 - 1, names=("x", ""), peers=(inner, Inner(id=b""))
    )
    assert Outer.parse(message.serialize()) == message


def test_an_unknown_enumeration_value_and_unknown_fields_survive_parsing() -> None:
    assert Outer.parse(b"\x08\x63" + b"\xa2\x06\x03abc").type == 99


def test_fields_are_written_in_order_of_their_numbers() -> None:
    assert Outer(status=1, text="a", type=2).serialize() == b"\x08\x02\x1a\x01a\x40\x01"


def test_the_last_of_a_single_field_wins() -> None:
    assert Outer.parse(b"\x08\x01\x08\x02").type == 2


@pytest.mark.parametrize("data", [b"\x08", b"\x12\x05abc", b"\x12\x00", b"\x1a\x01\xff", b"\xff\xff\xff"])
def test_what_is_not_the_message_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        Outer.parse(data)


def test_a_value_of_the_wrong_kind_is_the_callers_mistake() -> None:
    with pytest.raises((TypeError, ValueError)):
        Outer(nonce=-1).serialize()
    with pytest.raises(TypeError):
        Inner(id="text").serialize()  # type: ignore[arg-type]


def test_messages_come_out_whole_whatever_the_chunks() -> None:
    reader = DelimitedReader(300)
    out = []
    for byte in delimit(b"a" * 200) + delimit(b"") + delimit(b"b"):
        reader.feed(bytes((byte,)))
        while (message := reader.next_message()) is not None:
            out.append(message)
    assert out == [b"a" * 200, b"", b"b"]


def test_the_rest_behind_a_message_can_be_taken() -> None:
    reader = DelimitedReader(10)
    reader.feed(delimit(b"one") + b"rest")
    assert reader.next_message() == b"one"
    assert reader.take_rest() == b"rest"
    assert reader.take_rest() == b""


def test_an_announcement_above_the_limit_is_refused_before_it_is_buffered() -> None:
    reader = DelimitedReader(300)
    reader.feed(b"\xad\x02")
    with pytest.raises(MessageTooLarge):
        reader.next_message()
