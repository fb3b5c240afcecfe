"""Hypothesis strategies of floor 0: addresses, every attribute with values that may be sent, messages."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from stun import attributes as att
from stun.address import TransportAddress
from stun.attributes import BY_CODE, Attribute, unknown_attribute
from stun.message import _TYPES, Message
from stun.values import AddressErrorCode, ChangeRequest, ErrorCode, Icmp, PasswordAlgorithmChoice

ports = st.integers(0, 65535)
addresses = st.builds(TransportAddress, st.ip_addresses().map(str), ports)
u8, u16, u32, u64 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64))
codes = st.integers(300, 699)


def texts(limit: int = 127) -> st.SearchStrategy[str]:
    alphabet = st.characters(exclude_categories=("Cs",))
    return st.text(alphabet, max_size=limit).filter(lambda text: len(text.encode()) <= 509)


choices = st.builds(PasswordAlgorithmChoice, u16, st.binary(max_size=20))

VALUES: dict[Attribute[Any], st.SearchStrategy[Any]] = {
    att.MAPPED_ADDRESS: addresses,
    att.CHANGE_REQUEST: st.builds(ChangeRequest, st.booleans(), st.booleans()),
    att.USERNAME: texts(508),
    att.ERROR_CODE: st.builds(ErrorCode, codes, texts()),
    att.UNKNOWN_ATTRIBUTES: st.lists(u16, max_size=20).map(tuple),
    att.CHANNEL_NUMBER: u16,
    att.LIFETIME: u32,
    att.XOR_PEER_ADDRESS: addresses,
    att.DATA: st.binary(max_size=2000),
    att.REALM: texts(),
    att.NONCE: st.binary(max_size=763),
    att.XOR_RELAYED_ADDRESS: addresses,
    att.REQUESTED_ADDRESS_FAMILY: u8,
    att.EVEN_PORT: st.booleans(),
    att.REQUESTED_TRANSPORT: u8,
    att.DONT_FRAGMENT: st.just(True),
    att.ACCESS_TOKEN: st.binary(max_size=500),
    att.PASSWORD_ALGORITHM: choices,
    att.USERHASH: st.binary(min_size=32, max_size=32),
    att.XOR_MAPPED_ADDRESS: addresses,
    att.RESERVATION_TOKEN: st.binary(min_size=8, max_size=8),
    att.PRIORITY: u32,
    att.USE_CANDIDATE: st.just(True),
    att.NOMINATION: u32,
    att.PADDING: st.binary(max_size=1500),
    att.RESPONSE_PORT: u16,
    att.CONNECTION_ID: u32,
    att.ADDITIONAL_ADDRESS_FAMILY: u8,
    att.ADDRESS_ERROR_CODE: st.builds(AddressErrorCode, u8, codes, texts()),
    att.PASSWORD_ALGORITHMS: st.lists(choices, max_size=5).map(tuple),
    att.ALTERNATE_DOMAIN: st.text("abc.-XYZ019", min_size=1, max_size=255),
    att.ICMP: st.builds(Icmp, st.integers(0, 127), st.integers(0, 511), st.binary(min_size=4, max_size=4)),
    att.SOFTWARE: texts(),
    att.ALTERNATE_SERVER: addresses,
    att.CACHE_TIMEOUT: u32,
    att.ICE_CONTROLLED: u64,
    att.ICE_CONTROLLING: u64,
    att.RESPONSE_ORIGIN: addresses,
    att.OTHER_ADDRESS: addresses,
    att.CHANGED_ADDRESS: addresses,
    att.SOURCE_ADDRESS: addresses,
    att.THIRD_PARTY_AUTHORIZATION: texts(255),
    att.MOBILITY_TICKET: st.binary(max_size=500),
}

unknown = st.tuples(u16.filter(lambda code: code not in BY_CODE).map(unknown_attribute), st.binary(max_size=50))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Attribute[Any], Any]:
    if draw(st.integers(0, 9)) == 0:
        return draw(unknown)
    attribute = draw(st.sampled_from(list(VALUES)))
    return attribute, draw(VALUES[attribute])


@st.composite
def messages(draw: st.DrawFn) -> Message:
    method, message_class = draw(st.sampled_from(sorted(_TYPES.values())))
    transaction_id = draw(st.binary(min_size=12, max_size=12))
    return Message(method, message_class, transaction_id, draw(st.lists(pairs(), max_size=8)))


keys = st.binary(max_size=80)
