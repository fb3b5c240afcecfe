"""The TURN client against a small server in virtual time: every message is counted."""

from __future__ import annotations

import random

import pytest

from stun import attributes as att
from stun.message import Message, MessageClass, Method, parse
from stun.values import AddressFamily, Icmp, PasswordAlgorithm
from tests.turn.fake_server import (
    CLIENT,
    PATH,
    PEER,
    RELAYED,
    RELAYED6,
    SERVER,
    STREAM,
    FakeServer,
    Refusal,
    Stage,
    data_indication,
    icmp_indication,
)
from turn import errors
from turn.allocation import AllocationState
from turn.client import TurnClient
from turn.config import ChannelPolicy, EvenPort, RelayTransport, TurnClientConfig, TurnServerConfig
from turn.events import (
    Allocated,
    AllocationFailed,
    AllocationLost,
    ChannelBound,
    Closed,
    FamilyLost,
    PeerUnreachable,
    PermissionGranted,
)

QUIET = TurnClientConfig(keepalive=None, channels=ChannelPolicy.ON_DEMAND)


def failure(stage: Stage) -> errors.TurnError:
    (event,) = stage.of(AllocationFailed)
    assert isinstance(event, AllocationFailed)
    return event.error


def loss(stage: Stage) -> errors.TurnError:
    (event,) = stage.of(AllocationLost)
    assert isinstance(event, AllocationLost)
    return event.error


# -- allocating


@pytest.mark.parametrize("path", [PATH, STREAM])
def test_an_allocation_takes_four_messages(path: object) -> None:
    stage = Stage(path=path)  # type: ignore[arg-type]
    stage.start()
    assert stage.methods() == ["ALLOCATE", "ALLOCATE"]
    assert stage.replies == 2
    assert stage.events == [Allocated((RELAYED,), CLIENT, 600)]
    assert (stage.client.relayed, stage.client.mapped) == ((RELAYED,), CLIENT)
    bare, signed = stage.server.requests
    forbidden = (att.USERNAME, att.USERHASH, att.REALM, att.NONCE, att.PASSWORD_ALGORITHM, att.PASSWORD_ALGORITHMS)
    assert not any(attribute in bare for attribute in forbidden)
    assert bare.integrity is None
    assert bare.get_all(att.REQUESTED_TRANSPORT) == [17]
    assert bare.transaction_id != signed.transaction_id
    # The server offers both hashes and anonymity: SHA-256 and USERHASH it is (RFC 8656 section 5, RFC 8489 9.2.5).
    assert signed.get(att.PASSWORD_ALGORITHM).algorithm == PasswordAlgorithm.SHA256  # type: ignore[union-attr]
    assert att.USERHASH in signed
    assert att.USERNAME not in signed


def test_an_old_server_gets_md5_and_the_user_name() -> None:
    stage = Stage(FakeServer(algorithms=())).start()
    assert stage.of(Allocated)
    signed = stage.server.requests[1]
    assert signed.get(att.USERNAME) == "maria"
    assert att.PASSWORD_ALGORITHM not in signed
    assert signed.sha1_position
    assert not signed.sha256_position


def test_an_allocation_starts_once() -> None:
    stage = Stage().start()
    with pytest.raises(ValueError, match="once"):
        stage.client.start(0.0)


def test_what_is_asked_for_is_in_the_request() -> None:
    tuning = TurnClientConfig(keepalive=None, software="a client")
    stage = Stage(tuning=tuning, lifetime=900, dont_fragment=True, even_port=EvenPort.EVEN_AND_RESERVE_NEXT).start()
    request = stage.server.requests[1]
    assert request.get(att.LIFETIME) == 900
    assert request.get(att.EVEN_PORT) is True
    assert request.get(att.SOFTWARE) == "a client"
    assert att.DONT_FRAGMENT in request
    (event,) = stage.of(Allocated)
    assert isinstance(event, Allocated)
    assert event.reservation_token == b"reserved"
    other = Stage(reservation_token=event.reservation_token).start()
    assert other.server.requests[1].get(att.RESERVATION_TOKEN) == b"reserved"
    assert att.EVEN_PORT not in other.server.requests[1]


def test_families() -> None:
    six = Stage(families=(6,)).start()
    assert six.server.requests[1].get(att.REQUESTED_ADDRESS_FAMILY) == AddressFamily.IPV6
    assert six.client.relayed == (RELAYED6,)
    dual = Stage(families=(4, 6)).start()
    request = dual.server.requests[1]
    assert request.get(att.ADDITIONAL_ADDRESS_FAMILY) == AddressFamily.IPV6
    assert att.REQUESTED_ADDRESS_FAMILY not in request
    assert dual.client.relayed == (RELAYED, RELAYED6)


def test_a_missing_family_of_two_is_told_and_is_no_failure() -> None:
    server = FakeServer()
    del server.families[6]
    stage = Stage(server, families=(4, 6)).start()
    (event,) = stage.of(Allocated)
    assert isinstance(event, Allocated)
    assert event.relayed == (RELAYED,)
    (problem,) = event.family_errors
    assert isinstance(problem, errors.TurnAddressFamilyError)
    assert "IPv6" in str(problem)
    stage.run(until=2000.0)
    assert all(att.ADDITIONAL_ADDRESS_FAMILY not in request for request in stage.server.requests[2:])


def test_a_family_that_was_not_asked_for_is_given_back() -> None:
    server = FakeServer()
    server.families[4] = RELAYED6
    stage = Stage(server).start()
    assert isinstance(failure(stage), errors.TurnAddressFamilyError)
    assert stage.methods() == ["ALLOCATE", "ALLOCATE", "REFRESH"]
    assert stage.server.requests[-1].get(att.LIFETIME) == 0


def test_one_of_two_families_can_be_given_back() -> None:
    stage = Stage(families=(4, 6)).start()
    stage.client.delete_family(4, stage.now)
    stage.pump()
    request = stage.server.requests[-1]
    assert (request.get(att.LIFETIME), request.get(att.REQUESTED_ADDRESS_FAMILY)) == (0, AddressFamily.IPV4)
    assert stage.client.relayed == (RELAYED6,)
    assert stage.of(FamilyLost) == [FamilyLost(4)]
    with pytest.raises(ValueError, match="IPv6"):
        stage.client.delete_family(6, stage.now)
    stage.client.create_permission([PEER.host], stage.now)
    stage.pump()
    assert stage.server.count(Method.CREATE_PERMISSION) == 0


REFUSALS = [
    (300, errors.TurnRedirectError),
    (400, errors.TurnBadRequestError),
    (403, errors.TurnForbiddenError),
    (420, errors.TurnUnknownAttributeError),
    (437, errors.TurnAllocationMismatchError),
    (440, errors.TurnAddressFamilyError),
    (441, errors.TurnWrongUserError),
    (442, errors.TurnTransportError),
    (486, errors.TurnQuotaError),
    (500, errors.TurnServerError),
    (508, errors.TurnCapacityError),
]


@pytest.mark.parametrize(("code", "kind"), REFUSALS)
def test_each_refusal_has_its_own_error_and_is_not_asked_again(code: int, kind: type[errors.TurnError]) -> None:
    server = FakeServer()
    server.refuse(Method.ALLOCATE, code)
    stage = Stage(server).start()
    stage.run(until=600.0)
    error = failure(stage)
    assert type(error) is kind
    assert error.code == code
    assert "turn:turn.example.org" in error.server
    assert str(SERVER) in str(error)
    assert str(code) in str(error)
    assert stage.methods() == ["ALLOCATE", "ALLOCATE"]
    assert stage.client.next_timeout() is None
    assert (error.retry_after or 0) >= (60 if code in (437, 486, 508) else 0)


def test_a_wrong_password_is_not_tried_twice() -> None:
    stage = Stage(username="maria", password="guess").start()
    assert isinstance(failure(stage), errors.TurnCredentialsError)
    assert len(stage.sent) == 2


def test_a_server_that_wants_a_user_says_so_to_one_who_is_none() -> None:
    stage = Stage(username=None, password=None).start()
    error = failure(stage)
    assert isinstance(error, errors.TurnCredentialsError)
    assert "wants a user name" in str(error)
    assert len(stage.sent) == 1


def test_a_silent_server_is_given_up_on_schedule() -> None:
    stage = Stage()
    stage.lose = True
    stage.start()
    stage.run(until=100.0)
    error = failure(stage)
    assert isinstance(error, errors.TurnTimeoutError)
    assert isinstance(error, TimeoutError)
    assert len(stage.sent) == 7
    stream = Stage(path=STREAM)
    stream.lose = True
    stream.start()
    stream.run(until=39.4)
    assert not stream.events
    stream.run(until=39.6)
    assert isinstance(failure(stream), errors.TurnTimeoutError)
    assert len(stream.sent) == 1


def test_a_challenge_without_its_algorithms_is_a_bid_down() -> None:
    stage = Stage()
    stage.client.start(0.0)
    effect = stage.client.next_effect()
    request = parse(effect.data)  # type: ignore[union-attr]
    response = request.failure(401, "No", (att.REALM, "example.org"), (att.NONCE, b"obMatJos2gAAAnonce"))
    stage.feed(response.serialize())
    stage.pump()
    assert isinstance(failure(stage), errors.TurnDowngradeError)


def test_unsigned_answers_to_signed_requests_are_an_integrity_violation() -> None:
    server = FakeServer()
    server.refuse(Method.ALLOCATE, *[Refusal(486, signed=False)] * 7)
    stage = Stage(server).start()
    assert not stage.events, "over UDP it is as if they had never come"
    stage.run(until=100.0)
    error = failure(stage)
    assert isinstance(error, errors.TurnIntegrityError)
    assert "486" in str(error)
    server = FakeServer()
    server.refuse(Method.ALLOCATE, Refusal(486, signed=False))
    assert isinstance(failure(Stage(server, path=STREAM).start()), errors.TurnIntegrityError)


def test_a_redirect_is_followed_only_when_it_is_signed() -> None:
    alternate = [(att.ALTERNATE_SERVER, PEER), (att.ALTERNATE_DOMAIN, "other.example.org")]
    server = FakeServer()
    server.refuse(Method.ALLOCATE, Refusal(300, alternate))  # type: ignore[arg-type]
    error = failure(Stage(server).start())
    assert isinstance(error, errors.TurnRedirectError)
    assert (error.alternates, error.domain, error.is_signed) == ((PEER,), "other.example.org", True)
    unsigned = Stage()
    unsigned.client.start(0.0)
    request = parse(unsigned.client.next_effect().data)  # type: ignore[union-attr]
    unsigned.feed(request.failure(300, "Go", *alternate).serialize())  # type: ignore[arg-type]
    unsigned.pump()
    error = failure(unsigned)
    assert isinstance(error, errors.TurnRedirectError)
    assert (error.alternates, error.is_signed) == ((PEER,), False)


def test_a_response_without_addresses_is_given_back() -> None:
    server = FakeServer()
    server.families.clear()
    stage = Stage(server).start()
    assert isinstance(failure(stage), errors.TurnProtocolError)
    assert stage.server.requests[-1].get(att.LIFETIME) == 0


def test_a_tcp_allocation_needs_a_stream() -> None:
    config = TurnServerConfig(url="turn:h", transport=RelayTransport.TCP)
    with pytest.raises(ValueError, match="6062"):
        TurnClient(config, PATH, random.Random(1))


# -- keeping


def test_it_refreshes_before_the_lifetime_ends() -> None:
    stage = Stage().start()
    stage.run(until=539.9)
    assert len(stage.sent) == 2
    stage.run(until=540.1)
    assert stage.methods()[2:] == ["REFRESH"]
    stage.run(until=3600.0)
    assert stage.methods()[2:] == ["REFRESH"] * 6
    assert stage.client.state is AllocationState.ALLOCATED
    assert att.REQUESTED_ADDRESS_FAMILY not in stage.server.requests[-1]


def test_a_short_lifetime_is_refreshed_at_three_quarters() -> None:
    stage = Stage(FakeServer(lifetime=8)).start()
    stage.run(until=60.0)
    assert stage.methods().count("REFRESH") == 10
    assert not stage.of(AllocationLost)


def test_a_stale_nonce_costs_one_more_round() -> None:
    stage = Stage(FakeServer(nonce_lifetime=100.0)).start()
    stage.run(until=541.0)
    assert stage.methods() == ["ALLOCATE", "ALLOCATE", "REFRESH", "REFRESH"]
    assert not stage.of(AllocationLost)


def test_a_refresh_that_meets_437_is_the_end() -> None:
    server = FakeServer()
    stage = Stage(server).start()
    server.refuse(Method.REFRESH, 437)
    stage.run(until=2000.0)
    assert isinstance(loss(stage), errors.TurnAllocationMismatchError)
    assert stage.client.state is AllocationState.DEAD
    assert stage.methods().count("REFRESH") == 1


@pytest.mark.parametrize("method", [Method.CREATE_PERMISSION, Method.CHANNEL_BIND])
def test_437_to_any_request_is_the_end(method: Method) -> None:
    server = FakeServer()
    stage = Stage(server).start()
    server.refuse(method, 437)
    stage.client.bind_channel(PEER, stage.now)
    stage.pump()
    assert isinstance(loss(stage), errors.TurnAllocationMismatchError)
    assert stage.client.next_timeout() is None


def test_a_silent_server_loses_the_allocation_when_it_runs_out() -> None:
    stage = Stage().start()
    stage.lose = True
    stage.run(until=599.0)
    assert not stage.of(AllocationLost)
    stage.run(until=601.0)
    assert isinstance(loss(stage), errors.TurnExpiredError | errors.TurnTimeoutError)


def test_a_server_error_is_asked_again_a_few_times() -> None:
    server = FakeServer()
    stage = Stage(server).start()
    server.refuse(Method.REFRESH, 500, 500)
    stage.run(until=560.0)
    assert stage.methods().count("REFRESH") == 3
    assert not stage.of(AllocationLost)
    server.refuse(Method.REFRESH, *[500] * 10)
    stage.run(until=1200.0)
    assert stage.methods().count("REFRESH") == 3 + 5
    assert isinstance(loss(stage), errors.TurnServerError)


def test_a_binding_indication_keeps_nats_open() -> None:
    stage = Stage(tuning=TurnClientConfig(keepalive=25.0)).start()
    stage.run(until=101.0)
    assert [message.method for message in stage.server.indications] == [Method.BINDING] * 4
    stream = Stage(path=STREAM, tuning=TurnClientConfig(keepalive=25.0)).start()
    stream.run(until=101.0)
    assert stream.server.indications == []


def test_a_closed_stream_loses_the_allocation() -> None:
    stage = Stage(path=STREAM).start()
    stage.client.receive_data(b"", STREAM, 1.0)
    stage.pump()
    assert isinstance(loss(stage), errors.TurnUnreachableError)
    broken = Stage(path=STREAM).start()
    broken.feed(b"\xffneither STUN nor ChannelData")
    broken.pump()
    assert broken.released == [STREAM]
    assert isinstance(loss(broken), errors.TurnUnreachableError)


# -- closing


def test_closing_gives_the_allocation_back() -> None:
    stage = Stage().start()
    stage.client.close(stage.now)
    stage.client.close(stage.now)
    stage.pump()
    assert stage.methods()[2:] == ["REFRESH"]
    assert stage.server.requests[-1].get(att.LIFETIME) == 0
    assert stage.events[1:] == [Closed()]
    assert stage.client.next_timeout() is None


def test_closing_waits_only_so_long() -> None:
    stage = Stage().start()
    stage.lose = True
    stage.client.close(stage.now)
    stage.run(until=5.0)
    assert stage.events[1:] == [Closed()]
    assert stage.methods()[2:] == ["REFRESH", "REFRESH"], "sent again after half a second, given up after one"


def test_what_falls_due_while_closing_is_let_go() -> None:
    stage = Stage().start()
    stage.client.bind_channel(PEER, stage.now)
    stage.run(until=239.5)
    stage.lose = True
    stage.client.close(stage.now)
    stage.run(until=300.0)
    assert stage.methods()[4:] == ["REFRESH", "REFRESH"]
    assert stage.events[-1] == Closed()


def test_closing_while_the_allocation_is_made_gives_it_back() -> None:
    stage = Stage()
    stage.client.start(0.0)
    stage.client.close(0.0)
    stage.pump()
    assert stage.methods() == ["ALLOCATE", "ALLOCATE", "REFRESH"]
    assert stage.server.requests[-1].get(att.LIFETIME) == 0
    assert stage.events == [Closed()]


def test_closing_what_was_never_started() -> None:
    stage = Stage()
    stage.client.close(0.0)
    stage.pump()
    assert (stage.sent, stage.events) == ([], [Closed()])


# -- data


def test_data_waits_for_its_permission_and_goes_at_once_after_it() -> None:
    stage = Stage(tuning=QUIET)
    stage.client.start(0.0)
    stage.client.send(PEER, b"one", 0.0)
    stage.client.send(PEER, b"two", 0.0)
    stage.pump()
    assert stage.methods() == ["ALLOCATE", "ALLOCATE", "CREATE_PERMISSION", "SEND-indication", "SEND-indication"]
    assert [message.get(att.DATA) for message in stage.server.indications] == [b"one", b"two"]
    assert all(message.get(att.XOR_PEER_ADDRESS) == PEER for message in stage.server.indications)
    assert all(message.integrity is None for message in stage.server.indications)
    stage.client.send(PEER, b"three", 0.0)
    stage.pump()
    assert stage.methods()[5:] == ["SEND-indication"]


def test_what_waits_is_bounded_and_the_oldest_goes() -> None:
    stage = Stage(tuning=TurnClientConfig(keepalive=None, max_queued=2, channels=ChannelPolicy.ON_DEMAND))
    for number in range(5):
        stage.client.send(PEER, b"%d" % number, 0.0)
    stage.start()
    assert [message.get(att.DATA) for message in stage.server.indications] == [b"3", b"4"]
    assert stage.client.dropped_data == 3


def test_dont_fragment_is_in_send_indications() -> None:
    stage = Stage(tuning=QUIET, dont_fragment=True)
    stage.client.send(PEER, b"one", 0.0)
    stage.start()
    assert att.DONT_FRAGMENT in stage.server.indications[0]


def test_data_is_taken_only_with_a_permission() -> None:
    stage = Stage(tuning=QUIET).start()
    stage.feed(data_indication(PEER, b"no"))
    assert stage.client.next_data() is None
    stage.client.create_permission([PEER.host], stage.now)
    stage.pump()
    assert stage.of(PermissionGranted) == [PermissionGranted(PEER.host)]
    stage.feed(data_indication(PEER._replace(port=77), b"yes"))
    assert stage.client.next_data() == (PEER._replace(port=77), b"yes")
    assert stage.client.next_data() is None


def test_received_data_is_bounded() -> None:
    stage = Stage(tuning=TurnClientConfig(keepalive=None, max_received=3, channels=ChannelPolicy.ON_DEMAND)).start()
    stage.client.create_permission([PEER.host], stage.now)
    stage.pump()
    for number in range(5):
        stage.feed(data_indication(PEER, b"%d" % number))
    assert [stage.client.next_data() for _ in range(4)] == [(PEER, b"0"), (PEER, b"1"), (PEER, b"2"), None]
    assert stage.client.dropped_data == 2


def test_an_icmp_error_is_an_event() -> None:
    stage = Stage(tuning=QUIET).start()
    stage.feed(icmp_indication(PEER, Icmp(3, 3)))
    stage.pump()
    assert not stage.of(PeerUnreachable), "no permission, no event (RFC 8656 section 11.6)"
    stage.client.create_permission([PEER.host], stage.now)
    stage.pump()
    stage.feed(icmp_indication(PEER, Icmp(3, 3)))
    stage.pump()
    assert stage.of(PeerUnreachable) == [PeerUnreachable(PEER, Icmp(3, 3))]


@pytest.mark.parametrize("path", [PATH, STREAM])
def test_traffic_earns_a_channel(path: object) -> None:
    tuning = TurnClientConfig(keepalive=None, channel_after=3)
    stage = Stage(path=path, tuning=tuning)  # type: ignore[arg-type]
    stage.start()
    for _ in range(5):
        stage.client.send(PEER, b"hello", stage.now)
        stage.pump()
    assert stage.methods()[2:] == [
        "CREATE_PERMISSION",
        "SEND-indication",
        "SEND-indication",
        "SEND-indication",
        "CHANNEL_BIND",
        "data",
        "data",
    ]
    padding = bytes(3) if stage.client.path.protocol.is_stream else b""
    assert stage.server.channel_data == [bytes.fromhex("40000005") + b"hello" + padding] * 2
    assert stage.of(ChannelBound) == [ChannelBound(PEER, 0x4000)]
    stage.feed(bytes.fromhex("40000003") + b"abc" + padding[:1])
    assert stage.client.next_data() == (PEER, b"abc")


def test_the_fast_way_past_the_machine() -> None:
    stage = Stage(tuning=TurnClientConfig(keepalive=None, channel_after=1)).start()
    assert stage.client.encode(PEER, b"x") is None
    stage.client.create_permission([PEER.host], stage.now)
    stage.pump()
    wire = stage.client.encode(PEER, b"x")
    assert wire is not None
    assert parse(wire).get(att.DATA) == b"x"
    assert stage.client.has_work
    stage.pump()
    assert not stage.client.has_work
    assert stage.client.has_channel(PEER)
    assert stage.client.encode(tuple(PEER), b"x") == bytes.fromhex("40000001") + b"x"
    assert stage.client.decode(bytes.fromhex("40000001") + b"xpadding") == (PEER, b"x")
    assert stage.client.decode(bytes.fromhex("40010001") + b"x") is None, "a channel that is nobody's"
    assert stage.client.decode(bytes.fromhex("40000009") + b"short") is None
    assert stage.client.decode(b"@\0") is None
    assert stage.client.decode(b"") is None
    with pytest.raises(ValueError, match="datagram"):
        stage.client.encode(PEER, bytes(65536))


def test_messages_of_others_are_dropped() -> None:
    stage = Stage().start()
    stage.client.receive_datagram(data_indication(PEER, b"x"), PATH._replace(remote=PEER), 0.0)
    stage.feed(b"junk")
    stage.feed(Message(Method.ALLOCATE, MessageClass.REQUEST, bytes(12)).serialize())
    assert stage.client.dropped == 2
    assert stage.client.next_data() is None
