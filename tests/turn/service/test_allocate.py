from __future__ import annotations

from typing import Any

import pytest

from stun import attributes as att
from stun.address import TransportAddress, TransportProtocol
from stun.integrity import Integrity
from stun.message import Message, MessageClass, Method, parse
from tests.turn.service.stage import PEER, RELAY4, RELAY6, RELAYS, SERVER, TCP, UDP, Pair, Stage, StageClient
from turn.service.config import RelayLimits, RelayTimes
from turn.service.events import AllocationCreated, AllocationEnded, AllocationRefused, EndReason


def test_an_allocation() -> None:
    stage = Stage()
    client = StageClient(stage)
    response = client.allocate()
    (relayed,) = client.relayed
    assert relayed.host == RELAY4
    assert 49152 <= relayed.port <= 65535
    assert response.get(att.LIFETIME) == 600
    assert response.get(att.XOR_MAPPED_ADDRESS) == client.path.remote
    assert stage.open == {(relayed, UDP)}
    assert isinstance(stage.events[0], AllocationCreated)
    assert stage.server.stats.requests["allocate"] == 2  # the challenge and the real one


def test_a_retransmission_has_the_same_answer_and_another_allocate_is_a_mismatch() -> None:
    stage = Stage()
    client = StageClient(stage)
    client.code(Method.REFRESH)  # learns the nonce
    _, data = client.wire(Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17))
    (first,) = stage.receive(data, client.path)
    (second,) = stage.receive(data, client.path)
    assert first == second
    assert stage.opened == 1
    assert client.code(Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17)) == 437


V6, V4 = (att.REQUESTED_ADDRESS_FAMILY, 2), (att.REQUESTED_ADDRESS_FAMILY, 1)
BOTH = (att.ADDITIONAL_ADDRESS_FAMILY, 2)
TOKEN = (att.RESERVATION_TOKEN, b"12345678")


@pytest.mark.parametrize(
    ("code", "transport", "pairs"),
    [
        (442, 99, []),
        (442, 99, [V6, BOTH]),  # section 7.2: the transport is looked at first
        (400, 17, [TOKEN, (att.EVEN_PORT, False)]),
        (400, 17, [TOKEN, V4]),
        (400, 17, [TOKEN, BOTH]),
        (508, 17, [TOKEN]),
        (400, 17, [V4, BOTH]),
        (400, 17, [V4, V6]),
        (440, 17, [(att.REQUESTED_ADDRESS_FAMILY, 3)]),
        (400, 17, [(att.ADDITIONAL_ADDRESS_FAMILY, 1)]),
        (400, 17, [BOTH, (att.EVEN_PORT, True)]),
        (405, 17, [(att.MOBILITY_TICKET, b"")]),
        (420, 17, [(att.CHANGE_REQUEST, att.ChangeRequest())]),
        (400, 6, []),  # RFC 6062: not over UDP
    ],
)
def test_the_checks_of_section_7_2(code: int, transport: int, pairs: list[Pair]) -> None:
    stage = Stage()
    client = StageClient(stage)
    assert client.code(Method.ALLOCATE, (att.REQUESTED_TRANSPORT, transport), *pairs) == code
    assert not stage.open
    refused = [event for event in stage.events if isinstance(event, AllocationRefused)]
    assert [event.code for event in refused] == ([] if code == 420 else [code])


@pytest.mark.parametrize("host", ["2002:c000:201::1", "2001:0:4136:e378::1"])
def test_a_client_at_an_address_of_a_tunnel_gets_no_allocation(host: str) -> None:
    stage = Stage(mobility=True)
    server = TransportAddress(RELAY6, 3478)
    tunnelled = StageClient(stage, host=host, local=server)
    assert tunnelled.code(Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17)) == 403
    assert tunnelled.code(Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17), V6) == 403
    assert not stage.open
    plain = StageClient(stage, host="2001:db8::1", local=server)
    ticket = plain.allocate((att.MOBILITY_TICKET, b"")).get(att.MOBILITY_TICKET)
    assert tunnelled.code(Method.REFRESH, (att.MOBILITY_TICKET, ticket)) == 403


def test_an_access_token_is_not_understood() -> None:
    response = StageClient(Stage()).allocate((att.ACCESS_TOKEN, bytes(100)))
    assert response.error is not None
    assert response.error.code == 420
    assert response.get(att.UNKNOWN_ATTRIBUTES) == (att.ACCESS_TOKEN.code,)


@pytest.mark.parametrize(
    ("code", "transport", "pairs", "settings"),
    [
        (400, 6, [(att.DONT_FRAGMENT, True)], {}),
        (400, 6, [(att.EVEN_PORT, False)], {}),
        (400, 6, [TOKEN], {}),
        (442, 6, [], {"tcp": False}),
        (403, 17, [], {"udp": False}),
        (442, 99, [(att.DONT_FRAGMENT, True)], {}),
        (0, 6, [V6], {}),
    ],
)
def test_the_checks_of_section_5_1_of_rfc_6062(
    code: int, transport: int, pairs: list[Pair], settings: dict[str, Any]
) -> None:
    stage = Stage(**settings)
    client = StageClient(stage, protocol=TCP)
    response = client.allocate(*pairs, transport=transport)
    assert (response.error.code if response.error else 0) == code
    assert len(stage.open) == (code == 0)
    assert att.RESERVATION_TOKEN not in response


def test_a_request_for_a_ticket_is_empty() -> None:
    client = StageClient(Stage(mobility=True))
    assert client.code(Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17), (att.MOBILITY_TICKET, b"x")) == 400


def test_credentials_are_looked_at_before_anything_else() -> None:
    stage = Stage()
    client = StageClient(stage)
    strange = Message(Method.ALLOCATE, MessageClass.REQUEST, bytes(12), [(att.REQUESTED_TRANSPORT, 99)])
    strange.attributes.append((att.unknown_attribute(0x7777), b""))
    (answer,) = stage.receive(strange.serialize(), client.path)
    error = parse(answer).error
    assert error is not None
    assert error.code == 401
    client.allocate()
    assert client.code(Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 99)) == 437  # the 5-tuple before the transport


def test_what_looks_like_a_retransmission_of_another_user_is_none() -> None:
    stage = Stage()
    client, other = StageClient(stage), StageClient(stage, "bob")
    other.code(Method.REFRESH)  # learns the nonce
    client.allocate()
    same = stage.server.allocations[1].request_id
    request = Message(Method.ALLOCATE, MessageClass.REQUEST, same, [(att.REQUESTED_TRANSPORT, 17)])
    wire = other.auth.serialize(request, fingerprint=True)
    (answer,) = stage.receive(wire, other.path)
    error = parse(answer).error
    assert error is not None
    assert error.code == 437


def test_software_is_told_where_it_is_configured() -> None:
    client = StageClient(Stage(software="a server"))
    assert client.allocate().get(att.SOFTWARE) == "a server"
    assert client.refresh().get(att.SOFTWARE) == "a server"
    assert client.request(Method.CREATE_PERMISSION).get(att.SOFTWARE) == "a server"
    assert att.SOFTWARE not in StageClient(Stage()).allocate()


def test_a_transport_is_needed() -> None:
    assert StageClient(Stage()).code(Method.ALLOCATE) == 400


def test_dont_fragment_is_refused_where_it_cannot_be_done() -> None:
    client = StageClient(Stage(dont_fragment=False))
    response = client.allocate((att.DONT_FRAGMENT, True))
    assert response.error is not None
    assert response.error.code == 420
    assert response.get(att.UNKNOWN_ATTRIBUTES) == (att.DONT_FRAGMENT.code,)
    assert StageClient(Stage()).allocate((att.DONT_FRAGMENT, True)).error is None


def test_families() -> None:
    client = StageClient(Stage())
    client.allocate(V6)
    assert [relayed.host for relayed in client.relayed] == [RELAY6]
    dual = StageClient(Stage())
    dual.allocate(BOTH)
    assert [relayed.host for relayed in dual.relayed] == [RELAY4, RELAY6]


def test_a_family_that_is_not_there() -> None:
    only4, only6 = {"relays": RELAYS[:1]}, {"relays": RELAYS[1:]}
    assert StageClient(Stage(**only4)).code(Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17), V6) == 440
    assert StageClient(Stage(**only6)).code(Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17)) == 440
    half = StageClient(Stage(**only4))
    response = half.allocate(BOTH)
    assert [relayed.host for relayed in half.relayed] == [RELAY4]
    problem = response.get(att.ADDRESS_ERROR_CODE)
    assert problem is not None
    assert (problem.family, problem.code) == (2, 440)


@pytest.mark.parametrize(("asked", "granted"), [(None, 600), (0, 600), (10, 600), (1200, 1200), (10**6, 3600)])
def test_lifetimes(asked: int | None, granted: int) -> None:
    stage = Stage()
    client = StageClient(stage)
    client.allocate(*([(att.LIFETIME, asked)] if asked is not None else []))
    stage.wait(granted - 0.01)
    assert stage.open
    stage.wait(0.02)
    assert not stage.open
    assert stage.events[-1].reason is EndReason.EXPIRED
    assert client.code(Method.REFRESH) == 437


def test_quotas() -> None:
    stage = Stage(limits=RelayLimits(allocations=4, allocations_per_user=2, allocations_per_source=3))
    ask = (Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17))
    assert [StageClient(stage, port=port).code(*ask) for port in (1, 2, 3)] == [0, 0, 486]
    assert [StageClient(stage, "bob", port=port).code(*ask) for port in (4, 5)] == [0, 486]
    assert StageClient(stage, "bob", host="192.0.2.9", port=6).code(*ask) == 0
    assert StageClient(stage, "bob", host="192.0.2.10", port=7).code(*ask) == 508
    stage.wait(601)
    assert len(stage.server._state.users) == len(stage.server._state.sources) == 0
    assert StageClient(stage, port=8).code(*ask) == 0


def test_draining_and_alternates() -> None:
    elsewhere = TransportAddress("198.51.100.2", 3478)
    stage = Stage(alternates=(elsewhere,))
    old = StageClient(stage)
    old.allocate()
    stage.server.drain()
    response = StageClient(stage, port=5001).allocate()
    assert response.error is not None
    assert response.error.code == 300
    assert response.get(att.ALTERNATE_SERVER) == elsewhere
    assert old.refresh().get(att.LIFETIME) == 600


def test_a_redirect_names_both_families_and_over_tls_the_name_in_the_certificate() -> None:
    other4, other6 = TransportAddress("198.51.100.2", 3478), TransportAddress("2001:db8:2::2", 3478)
    stage = Stage(alternates=(other6, other4), alternate_domain="other.example.org")
    stage.server.drain()

    def redirect(client: StageClient) -> Message:
        response = client.allocate()
        assert response.error is not None
        assert response.error.code == 300
        assert response.integrity is Integrity.SHA256
        return response

    over_udp = redirect(StageClient(stage))
    assert over_udp.get_all(att.ALTERNATE_SERVER) == [other4, other6]
    assert att.ALTERNATE_DOMAIN not in over_udp
    over6 = redirect(StageClient(stage, host="2001:db8::9", local=TransportAddress(RELAY6, 3478)))
    assert over6.get_all(att.ALTERNATE_SERVER) == [other6, other4]
    for port, protocol in ((1, TransportProtocol.TLS), (2, TransportProtocol.DTLS)):
        assert (
            redirect(StageClient(stage, port=port, protocol=protocol)).get(att.ALTERNATE_DOMAIN) == "other.example.org"
        )
    # Nobody is sent on to a server that has no address of the family that was used.
    only6 = Stage(alternates=(other6,))
    only6.server.drain()
    assert StageClient(only6).code(Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17)) == 508


def test_refresh_prolongs_and_deletes() -> None:
    stage = Stage(times=RelayTimes())
    client = StageClient(stage)
    client.allocate()
    for _ in range(5):
        stage.wait(500)
        assert client.refresh().get(att.LIFETIME) == 600
    assert client.refresh(0).get(att.LIFETIME) == 0
    assert not stage.open
    ended = stage.events[-1]
    assert isinstance(ended, AllocationEnded)
    assert ended.reason is EndReason.DELETED


def test_refresh_of_one_family_leaves_the_other() -> None:
    stage = Stage()
    client = StageClient(stage)
    client.allocate(BOTH)
    assert client.refresh(0, V6).get(att.LIFETIME) == 0
    assert stage.open == {(client.relayed[0], UDP)}
    assert client.code(Method.REFRESH, V6) == 443
    assert client.permit(PEER) == 0
    assert client.permit(TransportAddress("2001:db8:7::7", 1)) == 443


def test_families_expire_apart() -> None:
    stage = Stage()
    client = StageClient(stage)
    client.allocate(BOTH)
    stage.wait(500)
    client.refresh(None, V4)
    stage.wait(200)
    assert stage.open == {(client.relayed[0], UDP)}


def test_only_its_user_may_touch_an_allocation() -> None:
    stage = Stage()
    StageClient(stage).allocate()
    thief = StageClient(stage, "bob")
    assert thief.code(Method.REFRESH) == 441
    assert thief.permit(PEER) == 441
    assert thief.bind(0x4000, PEER) == 441


@pytest.mark.parametrize("method", [Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND, Method.CONNECT])
def test_without_an_allocation(method: Method) -> None:
    assert StageClient(Stage()).code(method) == 437


def test_a_lost_connection_ends_its_allocation() -> None:
    stage = Stage()
    client = StageClient(stage, protocol=TCP)
    client.allocate()
    assert stage.open
    stage.server.path_closed(client.path, stage.now)
    stage.drain()
    assert not stage.open
    assert stage.events[-1].reason is EndReason.DISCONNECTED
    assert stage.server.connections == 0


def test_closing_ends_everything() -> None:
    stage = Stage()
    for port in range(5):
        StageClient(stage, port=5000 + port).allocate((att.EVEN_PORT, True))
    stage.server.close(stage.now)
    stage.drain()
    assert not stage.open
    assert stage.server.ports_in_use == 0
    assert stage.server.next_timeout() is None


def test_binding_needs_no_credentials() -> None:
    stage = Stage()
    client = StageClient(stage)
    request = Message(Method.BINDING, MessageClass.REQUEST, bytes(12))
    (answer,) = stage.receive(request.serialize(), client.path)
    assert parse(answer).get(att.XOR_MAPPED_ADDRESS) == client.path.remote
    assert client.path.local == SERVER
