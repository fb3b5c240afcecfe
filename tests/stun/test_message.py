from __future__ import annotations

import struct

import pytest

from stun import attributes as att
from stun.attributes import unknown_attribute
from stun.errors import StunParseError
from stun.integrity import Integrity, hmac_sha256
from stun.message import HEADER_LENGTH, Message, MessageClass, Method, parse, parse_classic
from stun.values import COOKIE, ErrorCode

TID = bytes(range(12))
KEY = b"a password"


def request(*pairs: tuple[att.Attribute[object], object]) -> Message:
    return Message(Method.BINDING, MessageClass.REQUEST, TID, list(pairs))


def raw(*attributes: bytes, message_type: int = 0x0001) -> bytes:
    body = b"".join(attributes)
    return struct.pack("!HH", message_type, len(body)) + COOKIE + TID + body


def tlv(code: int, value: bytes) -> bytes:
    return struct.pack("!HH", code, len(value)) + value + bytes(-len(value) % 4)


def test_an_empty_request_on_the_wire() -> None:
    assert request().serialize() == bytes.fromhex("000100002112a442") + TID
    assert parse(request().serialize()) == request()


@pytest.mark.parametrize(
    ("method", "message_class", "code"),
    [
        (Method.BINDING, MessageClass.REQUEST, 0x0001),
        (Method.BINDING, MessageClass.INDICATION, 0x0011),
        (Method.BINDING, MessageClass.SUCCESS, 0x0101),
        (Method.BINDING, MessageClass.ERROR, 0x0111),
        (Method.ALLOCATE, MessageClass.REQUEST, 0x0003),
        (Method.SEND, MessageClass.INDICATION, 0x0016),
        (Method.DATA, MessageClass.INDICATION, 0x0017),
        (Method.CHANNEL_BIND, MessageClass.SUCCESS, 0x0109),
        (Method.CREATE_PERMISSION, MessageClass.ERROR, 0x0118),
        (Method.CONNECTION_ATTEMPT, MessageClass.INDICATION, 0x001C),
    ],
)
def test_message_types(method: Method, message_class: MessageClass, code: int) -> None:
    data = Message(method, message_class, TID).serialize()
    assert data[:2] == code.to_bytes(2, "big")
    assert parse(data) == Message(method, message_class, TID)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(19),
        raw(message_type=0x4001),  # not two zero bits
        raw(message_type=0x0002),  # the shared secret of RFC 3489
        raw(message_type=0x0FFF),  # no such method
        raw(message_type=0x0006),  # Send is an indication only
        raw(message_type=0x0013),  # Allocate is none
        raw() + b"more",
        raw()[:-1],
        raw(b"\0\1"),
        raw(b"\0\1\0\1"),
        raw(b"\0\6\xff\xff"),
        raw(tlv(0x0008, bytes(19))),
        raw(tlv(0x001C, bytes(12))),
        raw(tlv(0x001C, bytes(36))),
        raw(tlv(0x001C, bytes(18))),
        raw(tlv(0x8028, bytes(4))),  # a wrong FINGERPRINT
        raw(tlv(0x8028, bytes(8))),
        raw(tlv(0x0006, b"\xff\xfe")),  # USERNAME is UTF-8
        raw(tlv(0x0006, b"x" * 764)),
        raw(tlv(0x0024, b"abc")),
        raw(tlv(0x0020, b"\0\1\0\0\0")),
        raw(tlv(0x0009, b"\0\0\7\0")),  # no class 7
        raw(tlv(0x0009, b"\0\0\4\x64")),  # no number 100
        raw(tlv(0x000A, b"\0\1\0")),
    ],
)
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(StunParseError):
        parse(data)


def test_the_cookie_decides() -> None:
    data = bytearray(raw())
    data[4] ^= 1
    with pytest.raises(StunParseError, match="cookie"):
        parse(bytes(data))
    assert parse_classic(bytes(data)).transaction_id == bytes(data[4:20])
    with pytest.raises(StunParseError, match="3489"):
        parse_classic(raw())
    with pytest.raises(StunParseError):
        parse_classic(bytes(19))


def test_a_classic_message_is_written_without_cookie() -> None:
    message = Message(Method.BINDING, MessageClass.REQUEST, bytes(range(100, 116)))
    data = message.serialize()
    assert data == b"\0\1\0\0" + bytes(range(100, 116))
    assert parse_classic(data) == message


def test_the_first_of_equal_attributes_counts() -> None:
    message = parse(raw(tlv(0x0024, bytes((0, 0, 0, 1))), tlv(0x0024, bytes((0, 0, 0, 2)))))
    assert message.get(att.PRIORITY) == 1
    assert message.get_all(att.PRIORITY) == [1, 2]
    assert att.PRIORITY in message
    assert att.USERNAME not in message
    assert message.get(att.USERNAME) is None


def test_an_unknown_address_family_is_ignored() -> None:
    message = parse(raw(tlv(0x0020, bytes((0, 9, 1, 2, 3, 4, 5, 6)))))
    assert message.attributes == []


def test_unknown_attributes_keep_their_bytes() -> None:
    message = parse(raw(tlv(0xC057, b"abcde"), tlv(0x7FFF, b"x"), tlv(0x7FFF, b"y"), tlv(0x0003, bytes(4))))
    assert message.get(unknown_attribute(0xC057)) == b"abcde"
    assert message.unknown_required() == (0x7FFF,)
    assert message.unknown_required({att.CHANGE_REQUEST}) == (0x7FFF, 0x0003)
    assert parse(message.serialize()) == message


@pytest.mark.parametrize("integrity", list(Integrity))
@pytest.mark.parametrize("fingerprint", [False, True])
def test_signing(integrity: Integrity, fingerprint: bool) -> None:
    message = request((att.USERNAME, "abc"), (att.PRIORITY, 7))
    data = message.serialize(KEY, fingerprint, integrity)
    back = parse(data)
    assert back == message
    assert back.wire == data
    assert back.integrity is integrity
    assert back.has_fingerprint is fingerprint
    assert back.verify_integrity(KEY)
    assert back.verify_integrity(KEY, integrity)
    assert not back.verify_integrity(b"another")
    if integrity is Integrity.BOTH:
        assert back.verify_integrity(KEY, Integrity.SHA1)
        assert back.verify_integrity(KEY, Integrity.SHA256)
    else:
        assert not back.verify_integrity(KEY, Integrity.BOTH)


def test_an_unsigned_message_has_no_integrity() -> None:
    message = parse(request().serialize())
    assert message.integrity is None
    assert not any(message.verify_integrity(KEY, algorithm) for algorithm in (None, *Integrity))
    assert not request().verify_integrity(KEY)


def test_one_wrong_signature_of_both() -> None:
    message = request()
    right = message.serialize(KEY, integrity=Integrity.BOTH)
    sha1_broken = bytearray(right)
    sha1_broken[24] ^= 1
    # The SHA-256 covers the SHA-1, so both are wrong.
    assert not parse(bytes(sha1_broken)).verify_integrity(KEY)
    sha256_broken = bytearray(right)
    sha256_broken[-1] ^= 1
    assert not parse(bytes(sha256_broken)).verify_integrity(KEY)
    assert parse(bytes(sha256_broken)).verify_integrity(KEY, Integrity.SHA1)


def test_attributes_after_integrity_do_not_count() -> None:
    signed = request((att.PRIORITY, 1)).serialize(KEY)
    late = tlv(0x0025, b"") + tlv(0x7FFE, b"x") + tlv(0x0006, b"\xff")
    data = signed[:2] + (len(signed) + len(late) - HEADER_LENGTH).to_bytes(2, "big") + signed[4:] + late
    message = parse(data)
    assert message.attributes == [(att.PRIORITY, 1)]
    assert message.unknown_required() == ()
    assert message.verify_integrity(KEY)


def test_the_first_of_two_signatures_counts() -> None:
    data = bytearray(Message(Method.BINDING, MessageClass.REQUEST, bytes(12)).serialize(b"key"))
    data += b"\0\x08\0\x14" + bytes(20)
    data[3] += 24
    assert parse(bytes(data)).verify_integrity(b"key")


def test_sha1_after_sha256_does_not_count() -> None:
    signed = request().serialize(KEY, integrity=Integrity.SHA256)
    late = tlv(0x0008, bytes(20))
    message = parse(signed[:2] + (36 + 24).to_bytes(2, "big") + signed[4:] + late)
    assert message.integrity is Integrity.SHA256
    assert message.verify_integrity(KEY)


def test_a_fingerprint_has_to_be_the_last() -> None:
    data = request().serialize(fingerprint=True)
    late = tlv(0x8022, b"late")
    with pytest.raises(StunParseError, match="end"):
        parse(data[:2] + (8 + len(late)).to_bytes(2, "big") + data[4:] + late)


@pytest.mark.parametrize("length", [16, 20, 24, 28])
def test_a_truncated_sha256_needs_permission(length: int) -> None:
    head = struct.pack("!HH", 0x0001, 4 + length) + COOKIE + TID
    data = head + tlv(0x001C, hmac_sha256(KEY, head)[:length])
    message = parse(data)
    assert not message.verify_integrity(KEY)
    assert message.verify_integrity(KEY, least_sha256=16)
    assert not message.verify_integrity(KEY, least_sha256=length + 4)
    assert not message.verify_integrity(b"wrong", least_sha256=16)


def test_replies_copy_method_and_transaction() -> None:
    good = request().success((att.XOR_MAPPED_ADDRESS, ("192.0.2.1", 1)))
    assert (good.method, good.message_class, good.transaction_id) == (Method.BINDING, MessageClass.SUCCESS, TID)
    assert good.error is None
    bad = request().failure(420, "Unknown Attribute", (att.UNKNOWN_ATTRIBUTES, (1, 2)))
    assert bad.error == ErrorCode(420, "Unknown Attribute")
    assert str(bad.error) == "420 Unknown Attribute"
    assert parse(bad.serialize()) == bad


def test_what_cannot_be_sent() -> None:
    with pytest.raises(ValueError, match="PRIORITY"):
        request((att.PRIORITY, -1)).serialize()
    with pytest.raises(ValueError, match="USERNAME"):
        request((att.USERNAME, "x" * 509)).serialize()
    with pytest.raises(ValueError, match="bytes of attributes"):
        request((att.DATA, bytes(65535))).serialize()
    with pytest.raises(ValueError, match="id"):
        Message(Method.BINDING, MessageClass.REQUEST, b"short").serialize()


def test_add_chains() -> None:
    message = request().add(att.PRIORITY, 1).add(att.USE_CANDIDATE, True)
    assert message.attributes == [(att.PRIORITY, 1), (att.USE_CANDIDATE, True)]


def test_messages_compare_by_what_they_say_and_may_change() -> None:
    one = Message(Method.BINDING, MessageClass.REQUEST, bytes(12))
    same = Message(Method.BINDING, MessageClass.REQUEST, bytes(12), [], b"the bytes do not count", 20, 0, True)
    assert one == same
    assert one != Message(Method.BINDING, MessageClass.SUCCESS, bytes(12))
    assert one != "a message"
    assert repr(one) == repr(same)
    assert repr(one).startswith(
        "Message(method=<Method.BINDING: 1>, message_class=<MessageClass.REQUEST: 0>, transaction_id="
    )
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)
