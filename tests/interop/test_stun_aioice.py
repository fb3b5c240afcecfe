"""aioice's codec and ours read each other's messages, and aioice gathers through our server."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stun import attributes as att
from stun.aio import UdpNetwork, serve
from stun.message import Message, MessageClass, Method, parse
from tests.properties.strategies_stun import addresses, codes, texts, u32, u64

aioice = pytest.importorskip("aioice", reason="needs the package aioice")
from aioice import stun as theirs  # noqa: E402

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60)]

KEY = b"a key of both"
plain = addresses.filter(lambda address: not address.host.startswith("::ffff:"))

VALUES: dict[att.Attribute[Any], st.SearchStrategy[Any]] = {
    att.USERNAME: texts(),
    att.PRIORITY: u32,
    att.USE_CANDIDATE: st.just(True),
    att.ICE_CONTROLLED: u64,
    att.ICE_CONTROLLING: u64,
    att.XOR_MAPPED_ADDRESS: plain,
    att.XOR_PEER_ADDRESS: plain,
    att.MAPPED_ADDRESS: plain,
    att.REALM: texts(),
    att.NONCE: st.binary(max_size=100),
    att.SOFTWARE: texts(),
    att.LIFETIME: u32,
    att.DATA: st.binary(max_size=100),
}


def their_value(value: Any) -> Any:
    return None if value is True else tuple(value) if isinstance(value, tuple) else value


@st.composite
def contents(draw: st.DrawFn) -> list[tuple[att.Attribute[Any], Any]]:
    chosen = draw(st.lists(st.sampled_from(list(VALUES)), unique=True))
    return [(attribute, draw(VALUES[attribute])) for attribute in chosen]


@settings(max_examples=200)
@given(contents(), st.binary(min_size=12, max_size=12), st.sampled_from([Method.BINDING, Method.ALLOCATE]))
def test_both_write_the_same_and_read_each_other(
    attributes: list[tuple[att.Attribute[Any], Any]], transaction_id: bytes, method: Method
) -> None:
    ours = Message(method, MessageClass.REQUEST, transaction_id, attributes)
    values = {attribute.name: their_value(value) for attribute, value in attributes}
    other = theirs.Message(theirs.Method(method), theirs.Class.REQUEST, transaction_id, dict(values))
    other.add_message_integrity(KEY)
    assert ours.serialize(KEY, fingerprint=True) == bytes(other)
    assert parse(bytes(other)) == ours
    back = theirs.parse_message(ours.serialize(KEY, fingerprint=True))
    assert back.check_message_integrity(KEY)
    assert {name: back.attributes[name] for name in values} == values


@given(codes, texts())
def test_errors(code: int, reason: str) -> None:
    data = Message(Method.BINDING, MessageClass.REQUEST, bytes(12)).failure(code, reason).serialize()
    assert theirs.parse_message(data).attributes["ERROR-CODE"] == (code, reason)


async def test_aioice_gathers_through_our_server() -> None:
    hosts = [each.host for each in UdpNetwork().interfaces() if ":" not in each.host and each.host != "127.0.0.1"]
    if not hosts:
        pytest.skip("no IPv4 address besides loopback, and aioice uses no loopback")
    async with await serve(hosts[:1], 0) as server:
        connection = aioice.Connection(ice_controlling=True, stun_server=tuple(server.udp[0]), use_ipv6=False)
        await connection.gather_candidates()
        reflexive = [each for each in connection.local_candidates if each.type == "srflx"]
        await connection.close()
        assert server.stats.responses == len(hosts)
    assert [each.host for each in reflexive] == hosts
