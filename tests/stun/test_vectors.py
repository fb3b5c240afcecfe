"""RFC 5769, byte for byte. Its padding is 0x20 where RFC 8489 has senders write zero; a receiver must not look."""

from __future__ import annotations

import pytest

from stun import attributes as att
from stun.errors import StunParseError
from stun.integrity import Integrity, userhash
from stun.message import Message, MessageClass, Method, parse
from tests.stun import vectors


def with_zero_padding(data: bytes) -> bytes:
    out = bytearray(data)
    position = 20
    while position < len(out):
        stop = position + 4 + int.from_bytes(out[position + 2 : position + 4], "big")
        end = stop + (-stop % 4)
        out[stop:end] = bytes(end - stop)
        position = end
    return bytes(out)


def test_request_2_1() -> None:
    message = parse(vectors.REQUEST)
    assert (message.method, message.message_class) == (Method.BINDING, MessageClass.REQUEST)
    assert message.transaction_id.hex() == "b7e7a701bc34d686fa87dfae"
    assert message.attributes == [
        (att.SOFTWARE, "STUN test client"),
        (att.PRIORITY, 0x6E0001FF),
        (att.ICE_CONTROLLED, 0x932FF9B151263B36),
        (att.USERNAME, "evtj:h6vY"),
    ]
    assert message.integrity is Integrity.SHA1
    assert message.has_fingerprint
    assert message.verify_integrity(vectors.SHORT_TERM_KEY)
    assert not message.verify_integrity(b"VOkJxbRl1RmTxUk/WvJxBT")


@pytest.mark.parametrize(
    ("data", "address"),
    [
        (vectors.IPV4_RESPONSE, ("192.0.2.1", 32853)),
        (vectors.IPV6_RESPONSE, ("2001:db8:1234:5678:11:2233:4455:6677", 32853)),
    ],
)
def test_responses_2_2_and_2_3(data: bytes, address: tuple[str, int]) -> None:
    message = parse(data)
    assert (message.method, message.message_class) == (Method.BINDING, MessageClass.SUCCESS)
    assert message.attributes == [(att.SOFTWARE, "test vector"), (att.XOR_MAPPED_ADDRESS, address)]
    assert message.has_fingerprint
    assert message.verify_integrity(vectors.SHORT_TERM_KEY)


def test_long_term_request_2_4() -> None:
    message = parse(vectors.LONG_TERM_REQUEST)
    assert message.transaction_id.hex() == "78ad3433c6ad72c029da412e"
    assert message.get(att.USERNAME) == "マトリックス"
    assert message.get(att.NONCE) == b"f//499k954d6OL34oL9FSTvy64sA"
    assert message.get(att.REALM) == "example.org"
    assert not message.has_fingerprint
    assert message.verify_integrity(vectors.LONG_TERM_KEY)


def test_the_long_term_request_is_written_byte_for_byte() -> None:
    # The one vector whose padding is zero, so a conforming sender makes exactly its bytes.
    message = parse(vectors.LONG_TERM_REQUEST)
    assert message.serialize(vectors.LONG_TERM_KEY) == vectors.LONG_TERM_REQUEST


@pytest.mark.parametrize("data", [vectors.REQUEST, vectors.IPV4_RESPONSE, vectors.IPV6_RESPONSE])
def test_the_others_differ_in_padding_and_what_it_signs_only(data: bytes) -> None:
    written = parse(data).serialize(vectors.SHORT_TERM_KEY, fingerprint=True)
    expected = with_zero_padding(data)
    assert len(written) == len(data)
    assert written[:-32] == expected[:-32]
    # The integrity attribute's own head, and FINGERPRINT's, are the same too; the sums cover the padding.
    assert written[-32:-28] == data[-32:-28]
    assert written[-8:-4] == data[-8:-4]
    assert parse(written).verify_integrity(vectors.SHORT_TERM_KEY)


@pytest.mark.parametrize("position", range(0, 108, 7))
def test_a_changed_byte_is_noticed(position: int) -> None:
    data = bytearray(vectors.REQUEST)
    data[position] ^= 0x01
    with pytest.raises(StunParseError):
        parse(bytes(data))


# RFC 8489 appendix B.1 as printed does not hold together: its length field says 156 where the attributes have 136
# bytes. The sums below were computed for a message with the right length (and checked with another HMAC).
B1_ATTRIBUTES = bytes.fromhex(
    "001e0020 4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704"
    "00150029 6f624d61744a6f733241414143 662f2f3439396b39353464364f4c33346f4c39465354767936347341 000000"
    "0014000b 6578616d706c652e6f726700".replace(" ", "")
)


def b1(length: int, signature: str) -> bytes:
    head = bytes.fromhex(f"0001{length:04x}2112a44278ad3433c6ad72c029da412e")
    return head + B1_ATTRIBUTES + bytes.fromhex("001c0020" + signature)


B1_PRINTED = "e4686c8f0edeb59013e07c7fb37e7be7c2d0dd7aeb86f2a4ab8cef9a6f735a01"


def test_appendix_b_1_as_printed_is_refused() -> None:
    with pytest.raises(StunParseError):
        parse(b1(156, B1_PRINTED))


def test_appendix_b_1_with_its_real_length() -> None:
    from stun.integrity import long_term_key
    from stun.values import PasswordAlgorithm

    key = long_term_key("マトリックス", "example.org", "TheMatrIX", PasswordAlgorithm.SHA256)
    message = parse(b1(136, "234112fbd4e27f983eb4032836f998216f5b23f8d927753fbc4f882bfbdf0dec"))
    assert message.integrity is Integrity.SHA256
    assert message.verify_integrity(key)
    assert message.get(att.USERHASH) == userhash("マトリックス", "example.org")
    # The MD5 key over the same attributes, signed with SHA-256 too.
    other = parse(b1(136, "fd8c273860d2e18ebca4c89b6973befa7ee8ecc69e9642db326fab65a0b955ba"))
    assert other.verify_integrity(vectors.LONG_TERM_KEY)
    assert isinstance(other, Message)
