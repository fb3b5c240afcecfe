"""Every attribute: its code, its bytes, and what it refuses. The bytes are written out from the RFCs' figures."""

from __future__ import annotations

from typing import Any

import pytest

from stun import attributes as att
from stun.attributes import BY_CODE, Attribute, unknown_attribute
from stun.errors import StunParseError
from stun.values import AddressErrorCode, ChangeRequest, ErrorCode, Icmp, PasswordAlgorithmChoice

TID = bytes.fromhex("b7e7a701bc34d686fa87dfae")

EXAMPLES: list[tuple[Attribute[Any], int, Any, str]] = [
    (att.MAPPED_ADDRESS, 0x0001, ("192.0.2.1", 32853), "00018055c0000201"),
    (att.MAPPED_ADDRESS, 0x0001, ("2001:db8::1", 1), "0002000120010db8000000000000000000000001"),
    (att.CHANGE_REQUEST, 0x0003, ChangeRequest(True, True), "00000006"),
    (att.CHANGE_REQUEST, 0x0003, ChangeRequest(False, True), "00000002"),
    (att.USERNAME, 0x0006, "ab", "6162"),
    (att.ERROR_CODE, 0x0009, ErrorCode(438, "Stale"), "000004265374616c65"),
    (att.UNKNOWN_ATTRIBUTES, 0x000A, (0x0003, 0x7FFF), "00037fff"),
    (att.CHANNEL_NUMBER, 0x000C, 0x4001, "40010000"),
    (att.LIFETIME, 0x000D, 600, "00000258"),
    (att.XOR_PEER_ADDRESS, 0x0012, ("192.0.2.1", 32853), "0001a147e112a643"),
    (att.DATA, 0x0013, b"hello", "68656c6c6f"),
    (att.REALM, 0x0014, "example.org", "6578616d706c652e6f7267"),
    (att.NONCE, 0x0015, b"\xffnonce", "ff6e6f6e6365"),
    (
        att.XOR_RELAYED_ADDRESS,
        0x0016,
        ("2001:db8:1234:5678:11:2233:4455:6677", 32853),
        "0002a1470113a9faa5d3f179bc25f4b5bed2b9d9",
    ),
    (att.REQUESTED_ADDRESS_FAMILY, 0x0017, 2, "02000000"),
    (att.EVEN_PORT, 0x0018, True, "80"),
    (att.EVEN_PORT, 0x0018, False, "00"),
    (att.REQUESTED_TRANSPORT, 0x0019, 17, "11000000"),
    (att.DONT_FRAGMENT, 0x001A, True, ""),
    (att.ACCESS_TOKEN, 0x001B, b"\x01\x02", "0102"),
    (att.PASSWORD_ALGORITHM, 0x001D, PasswordAlgorithmChoice(2), "00020000"),
    (att.USERHASH, 0x001E, bytes(32), "00" * 32),
    (att.XOR_MAPPED_ADDRESS, 0x0020, ("192.0.2.1", 32853), "0001a147e112a643"),
    (att.RESERVATION_TOKEN, 0x0022, b"12345678", "3132333435363738"),
    (att.PRIORITY, 0x0024, 0x6E0001FF, "6e0001ff"),
    (att.USE_CANDIDATE, 0x0025, True, ""),
    (att.PADDING, 0x0026, bytes(3), "000000"),
    (att.RESPONSE_PORT, 0x0027, 3478, "0d960000"),
    (att.CONNECTION_ID, 0x002A, 1, "00000001"),
    (att.ADDITIONAL_ADDRESS_FAMILY, 0x8000, 2, "02000000"),
    (att.ADDRESS_ERROR_CODE, 0x8001, AddressErrorCode(2, 440, "no"), "020004286e6f"),
    (
        att.PASSWORD_ALGORITHMS,
        0x8002,
        (PasswordAlgorithmChoice(2), PasswordAlgorithmChoice(7, b"abc"), PasswordAlgorithmChoice(1)),
        "00020000" + "0007000361626300" + "00010000",
    ),
    (att.ALTERNATE_DOMAIN, 0x8003, "example.org", "6578616d706c652e6f7267"),
    (att.ICMP, 0x8004, Icmp(3, 4, b"\0\0\5\0"), "0000060400000500"),
    (att.SOFTWARE, 0x8022, "x", "78"),
    (att.ALTERNATE_SERVER, 0x8023, ("192.0.2.1", 3478), "00010d96c0000201"),
    (att.CACHE_TIMEOUT, 0x8027, 60, "0000003c"),
    (att.ICE_CONTROLLED, 0x8029, 1, "0000000000000001"),
    (att.ICE_CONTROLLING, 0x802A, 2**64 - 1, "ffffffffffffffff"),
    (att.NOMINATION, 0xC001, 2, "00000002"),
    (att.RESPONSE_ORIGIN, 0x802B, ("192.0.2.1", 3478), "00010d96c0000201"),
    (att.OTHER_ADDRESS, 0x802C, ("192.0.2.1", 3478), "00010d96c0000201"),
    (att.CHANGED_ADDRESS, 0x0005, ("192.0.2.1", 3478), "00010d96c0000201"),
    (att.SOURCE_ADDRESS, 0x0004, ("192.0.2.1", 3478), "00010d96c0000201"),
    (att.THIRD_PARTY_AUTHORIZATION, 0x802E, "as.example", "61732e6578616d706c65"),
    (att.MOBILITY_TICKET, 0x8030, b"t", "74"),
]


@pytest.mark.parametrize(("attribute", "code", "value", "wire"), EXAMPLES, ids=lambda item: getattr(item, "name", None))
def test_code_and_bytes(attribute: Attribute[Any], code: int, value: Any, wire: str) -> None:
    assert attribute.code == code
    assert BY_CODE[code] is attribute
    assert attribute.encode(value, TID) == bytes.fromhex(wire)
    assert attribute.decode(bytes.fromhex(wire), TID) == value


def test_every_attribute_has_an_example() -> None:
    made_by_the_message = {att.MESSAGE_INTEGRITY, att.MESSAGE_INTEGRITY_SHA256, att.FINGERPRINT}
    assert {attribute.code for attribute, *_ in EXAMPLES} | {
        attribute.code for attribute in made_by_the_message
    } == set(BY_CODE)


@pytest.mark.parametrize(
    ("attribute", "wire"),
    [
        (att.MAPPED_ADDRESS, "0001"),
        (att.MAPPED_ADDRESS, "00010000c00002"),
        (att.MAPPED_ADDRESS, "00020000c0000201"),
        (att.XOR_MAPPED_ADDRESS, "00010000c000020100"),
        (att.CHANGE_REQUEST, "0000"),
        (att.ERROR_CODE, "0000"),
        (att.ERROR_CODE, "00000200"),
        (att.ERROR_CODE, "00000464"),
        (att.ERROR_CODE, "00000400" + "61" * 764),
        (att.UNKNOWN_ATTRIBUTES, "00"),
        (att.CHANNEL_NUMBER, "4001"),
        (att.LIFETIME, "000000000000"),
        (att.REALM, "ff"),
        (att.REALM, "61" * 764),
        (att.NONCE, "61" * 764),
        (att.REQUESTED_TRANSPORT, "11"),
        (att.EVEN_PORT, ""),
        (att.PASSWORD_ALGORITHM, ""),
        (att.PASSWORD_ALGORITHM, "000200"),
        (att.PASSWORD_ALGORITHM, "00020004"),
        (att.PASSWORD_ALGORITHM, "0002000000010000"),
        (att.PASSWORD_ALGORITHMS, "00020001"),
        (att.USERHASH, "00" * 31),
        (att.RESERVATION_TOKEN, "00" * 7),
        (att.ALTERNATE_DOMAIN, ""),
        (att.ALTERNATE_DOMAIN, "ff"),
        (att.ALTERNATE_DOMAIN, "61" * 256),
        (att.ICMP, "00" * 7),
        (att.ICE_CONTROLLED, "00" * 7),
        (att.MESSAGE_INTEGRITY, "00" * 19),
    ],
)
def test_damaged_values(attribute: Attribute[Any], wire: str) -> None:
    with pytest.raises(StunParseError):
        attribute.decode(bytes.fromhex(wire), TID)


def test_what_a_receiver_tolerates() -> None:
    assert att.MAPPED_ADDRESS.decode(bytes.fromhex("ff018055c0000201"), TID) == ("192.0.2.1", 32853)
    assert att.MAPPED_ADDRESS.decode(bytes.fromhex("00038055c0000201"), TID) is None
    assert att.ERROR_CODE.decode(bytes.fromhex("fffffc01ff"), TID) == ErrorCode(401, "\ufffd")
    assert att.SOFTWARE.decode(b"caf\xe9", TID) == "caf\ufffd"
    assert att.USE_CANDIDATE.decode(b"\0\0\0\0", TID) is True
    assert att.EVEN_PORT.decode(b"\x80\0\0\0", TID) is True
    assert att.REQUESTED_TRANSPORT.decode(b"\x11abc", TID) == 17


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        (att.MAPPED_ADDRESS, ("example.org", 1)),
        (att.MAPPED_ADDRESS, ("192.0.2.1", 65536)),
        (att.USERNAME, "x" * 509),
        (att.USERNAME, "ä" * 254 + "x"),
        (att.SOFTWARE, "\U0001f600" * 128),
        (att.REALM, "x" * 128),
        (att.SOFTWARE, "x" * 128),
        (att.NONCE, bytes(764)),
        (att.ERROR_CODE, ErrorCode(299, "")),
        (att.ERROR_CODE, ErrorCode(700, "")),
        (att.ERROR_CODE, ErrorCode(400, "x" * 128)),
        (att.UNKNOWN_ATTRIBUTES, (65536,)),
        (att.CHANNEL_NUMBER, 65536),
        (att.REQUESTED_TRANSPORT, 256),
        (att.USE_CANDIDATE, False),
        (att.USERHASH, bytes(31)),
        (att.ICMP, Icmp(128, 0)),
        (att.ICMP, Icmp(0, 512)),
        (att.ICMP, Icmp(0, 0, b"")),
        (att.ALTERNATE_DOMAIN, ""),
        (att.ALTERNATE_DOMAIN, "ä.example"),
    ],
)
def test_values_that_must_not_be_sent(attribute: Attribute[Any], value: Any) -> None:
    with pytest.raises(ValueError):
        attribute.encode(value, TID)


def test_a_zone_is_no_part_of_an_address_on_the_wire() -> None:
    assert att.XOR_MAPPED_ADDRESS.encode(("fe80::1%eth0", 1), TID) == att.XOR_MAPPED_ADDRESS.encode(("fe80::1", 1), TID)


def test_comprehension() -> None:
    assert att.USERNAME.comprehension_required
    assert not att.SOFTWARE.comprehension_required
    assert repr(att.XOR_MAPPED_ADDRESS) == "<XOR-MAPPED-ADDRESS>"


def test_unknown_attributes_compare_by_code() -> None:
    assert unknown_attribute(0xC057) == unknown_attribute(0xC057)
    assert unknown_attribute(0xC057) != unknown_attribute(0xC058)
    assert hash(unknown_attribute(7)) == hash(unknown_attribute(7))
    assert not unknown_attribute(0xC057).known
    with pytest.raises(ValueError):
        unknown_attribute(0x10000)
