from __future__ import annotations

import itertools
import pickle

import pytest

from stun import attributes as att
from stun.address import TransportAddress
from stun.integrity import Integrity
from stun.message import Message, MessageClass, Method, parse
from stun.values import PasswordAlgorithm
from tests.turn.service.stage import PEER, TCP, Stage, StageClient
from turn.credentials import SharedSecretUsers, StaticUsers, Users, rest_credentials
from turn.service.config import RelayLimits, UnauthenticatedLimits
from turn.service.events import AllocationMoved

ALLOCATE = (Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17))
UNIX = 1_800_000_000.0


def test_both_hash_families() -> None:
    for sha256, integrity in ((True, Integrity.SHA256), (False, Integrity.SHA1)):
        client = StageClient(Stage(sha256=sha256))
        response = client.allocate()
        assert response.error is None
        assert response.integrity is integrity
        unwanted = {att.REALM, att.NONCE, att.USERNAME, att.USERHASH}
        assert not unwanted & {attribute for attribute, _ in response.attributes}


def test_the_challenge_offers_sha256_and_asks_for_the_hash_of_the_name() -> None:
    stage = Stage()
    client = StageClient(stage)
    _, data = client.wire(*ALLOCATE)
    (answer,) = stage.receive(data, client.path)
    challenge = parse(answer)
    offered = challenge.get(att.PASSWORD_ALGORITHMS)
    assert offered is not None
    assert [choice.algorithm for choice in offered] == [PasswordAlgorithm.SHA256, PasswordAlgorithm.MD5]
    client.code(*ALLOCATE)
    _, wire = client.wire(Method.REFRESH)
    assert att.USERHASH in parse(wire)
    assert att.USERNAME not in parse(wire)


def test_no_password_is_kept() -> None:
    kept = pickle.dumps(StaticUsers("example.org", {"alice": "a password"}))
    assert b"alice" in kept
    assert b"a password" not in kept


def test_a_wrong_password() -> None:
    assert StageClient(Stage(), password="guess").code(*ALLOCATE) == 401
    assert StageClient(Stage(), "mallory").code(*ALLOCATE) == 401


def test_guessing_is_slowed_down_and_does_not_hurt_those_inside() -> None:
    stage = Stage(unauthenticated=UnauthenticatedLimits(failure_rate=1.0, failure_burst=10, excess_burst=10**6))
    inside = StageClient(stage, port=4000)
    inside.allocate()
    guesser = StageClient(stage, password="guess")
    guesser.code(*ALLOCATE)
    answers = [len(stage.receive(guesser.wire(*ALLOCATE)[1], guesser.path)) for _ in range(50)]
    assert sum(answers) <= 10
    assert stage.server.stats.guesses >= 40
    assert inside.refresh().error is None
    right = StageClient(stage, port=4001)
    assert stage.receive(right.wire(*ALLOCATE)[1], right.path) == []  # the whole source waits
    stage.wait(30)
    assert right.code(*ALLOCATE) == 0


def test_an_allocation_is_no_place_to_guess_the_passwords_of_others_from() -> None:
    stage = Stage(unauthenticated=UnauthenticatedLimits(failure_rate=0.001, failure_burst=3, excess_burst=10**6))
    inside = StageClient(stage)
    inside.allocate()
    guesser, right = StageClient(stage, "bob", password="guess"), StageClient(stage, "bob")
    assert right.code(Method.REFRESH) == 441
    guesser.code(Method.REFRESH)
    for _ in range(5):
        stage.receive(guesser.wire(Method.REFRESH)[1], guesser.path)
    assert stage.receive(guesser.wire(Method.REFRESH)[1], guesser.path) == []
    assert stage.receive(right.wire(Method.REFRESH)[1], right.path) == []  # or silence would tell a wrong password
    assert inside.refresh().error is None


def test_replayed_nonces_of_others_are_stale() -> None:
    stage = Stage()
    client = StageClient(stage)
    client.code(Method.REFRESH)
    _, data = client.wire(*ALLOCATE)
    elsewhere = client.path._replace(remote=TransportAddress("192.0.2.77", 5000))
    (answer,) = stage.receive(data, elsewhere)
    assert parse(answer).error is not None
    assert parse(answer).error.code == 438  # type: ignore[union-attr]
    assert not stage.open
    stage.wait(601)
    (answer,) = stage.receive(data, client.path)
    assert parse(answer).error.code == 438  # type: ignore[union-attr]
    assert not stage.open


def amplification(stage: Stage, requests: list[bytes], seconds: float) -> float:
    """Return bytes out by bytes in of a source that sends the requests over and over and shows no credentials."""
    path = StageClient(stage).path
    taken = given = 0
    count = 20_000
    for data in itertools.islice(itertools.cycle(requests), count):
        stage.now += seconds / count
        given += len(data)
        taken += sum(len(answer) for answer in stage.receive(data, path))
    return taken / given


def test_the_amplification_of_forged_requests() -> None:
    bare = [
        Message(method, MessageClass.REQUEST, bytes(12)).serialize()
        for method in Method
        if method not in (Method.SEND, Method.DATA, Method.CONNECTION_ATTEMPT)
    ]
    unknown = Message(Method.BINDING, MessageClass.REQUEST, bytes(12))
    unknown.attributes += [(att.unknown_attribute(code), b"") for code in range(0x7000, 0x7040)]
    forged = StageClient(Stage(), password="x")
    forged.code(*ALLOCATE)
    _, signed = forged.wire(*ALLOCATE)
    assert amplification(Stage(), bare, 10.0) < 0.5
    assert amplification(Stage(), [bare[1]], 1.0) < 0.2
    assert amplification(Stage(), [signed, unknown.serialize()], 10.0) < 0.6
    # Asked so slowly that the allowance pays for every answer: what RFC 8489 has a server answer, in full.
    slow = amplification(Stage(unauthenticated=UnauthenticatedLimits(excess_burst=10**8)), [bare[1]], 10.0)
    assert 6 < slow < 8


def test_no_answer_exceeds_its_request_once_the_allowance_is_used_up() -> None:
    stage = Stage(unauthenticated=UnauthenticatedLimits(excess_rate=1e-9, excess_burst=1000))
    path = StageClient(stage).path
    request = Message(Method.ALLOCATE, MessageClass.REQUEST, bytes(12)).serialize()
    for _ in range(100):
        stage.receive(request, path)
    assert stage.receive(request, path) == []
    padded = Message(Method.ALLOCATE, MessageClass.REQUEST, bytes(12)).add(att.SOFTWARE, "x" * 127)
    padded.add(att.REALM, "x" * 100)
    (answer,) = stage.receive(padded.serialize(), path)
    assert len(answer) <= len(padded.serialize())
    assert stage.server.stats.unanswered > 80


def test_a_flood_leaves_no_memory_behind() -> None:
    stage = Stage(unauthenticated=UnauthenticatedLimits(sources=100))
    for number in range(2000):
        client = StageClient(stage, host=f"10.{number >> 8}.{number & 255}.1", port=number + 1)
        client.stage.receive(client.wire(*ALLOCATE)[1], client.path)
    assert len(stage.server._budget) == 100
    assert len(stage.server.allocations) == len(stage.server._streams) == len(stage.server._allocate) == 0


# -- time-limited users --


def rest_stage(clock: list[float], *secrets: str) -> Stage:
    rest = SharedSecretUsers("example.org", secrets, lambda: clock[0])
    return Stage(users=Users(StaticUsers("example.org", {"alice": "wonder"}), rest))


def rest_client(stage: Stage, secret: str, unix: float, port: int = 5000, user: str = "carol") -> StageClient:
    name, password = rest_credentials(secret, user, 3600, unix)
    return StageClient(stage, name, password=password, port=port)


def test_rest_credentials_are_those_of_coturn() -> None:
    # echo -n 1800003600:carol | openssl dgst -sha1 -hmac north -binary | base64
    assert rest_credentials("north", "carol", 3600, UNIX) == ("1800003600:carol", "u7YfV7gmTmXvmL/YWFGgPw2NOtQ=")
    with pytest.raises(ValueError, match="shared secret"):
        rest_credentials("", "carol", 3600, UNIX)


def test_time_limited_users() -> None:
    clock = [UNIX]
    stage = rest_stage(clock, "north")
    assert rest_client(stage, "north", UNIX).code(*ALLOCATE) == 0
    assert rest_client(stage, "south", UNIX, 5001).code(*ALLOCATE) == 401
    assert StageClient(stage, port=5002).code(*ALLOCATE) == 0  # a static user beside them
    assert StageClient(stage, "x:y", password="z", port=5003).code(*ALLOCATE) == 401
    clock[0] += 3601
    assert rest_client(stage, "north", UNIX, 5004).code(*ALLOCATE) == 401


def test_renewed_credentials_keep_the_allocation_and_those_of_others_do_not() -> None:
    clock = [UNIX]
    stage = rest_stage(clock, "north")
    client = rest_client(stage, "north", UNIX)
    client.allocate()
    client.refresh(3600)
    clock[0] += 3601
    assert client.refresh().error.code == 401  # type: ignore[union-attr]
    renewed = rest_client(stage, "north", clock[0])
    assert renewed.refresh(3600).error is None
    assert rest_client(stage, "north", clock[0], user="dave").refresh().error.code == 441  # type: ignore[union-attr]


def test_a_secret_is_replaced_while_both_are_good() -> None:
    stage = rest_stage([UNIX], "new", "old")
    assert rest_client(stage, "new", UNIX).code(*ALLOCATE) == 0
    assert rest_client(stage, "old", UNIX, 5001).code(*ALLOCATE) == 0
    assert rest_client(stage, "other", UNIX, 5002).code(*ALLOCATE) == 401


# -- mobility (RFC 8016) --


def mobile(stage: Stage) -> tuple[StageClient, bytes]:
    client = StageClient(stage)
    ticket = client.allocate((att.MOBILITY_TICKET, b"")).get(att.MOBILITY_TICKET)
    assert ticket
    client.bind(0x4001, PEER)
    return client, ticket


def test_an_allocation_follows_its_client() -> None:
    stage = Stage(mobility=True)
    old, ticket = mobile(stage)
    new = StageClient(stage, host="192.0.2.99", port=9)
    response = new.refresh(None, (att.MOBILITY_TICKET, ticket))
    assert response.error is None
    second = response.get(att.MOBILITY_TICKET)
    assert second not in (None, ticket)
    assert stage.from_peer(b"x", old.relayed[0], PEER)[0][0] == old.path  # both are served
    assert old.send_on(0x4001, b"x")
    assert stage.from_peer(b"x", old.relayed[0], PEER)[0][0] == old.path
    assert new.send_on(0x4001, b"x")
    assert stage.from_peer(b"x", old.relayed[0], PEER)[0][0] == new.path
    assert old.send_on(0x4001, b"x") == []
    assert old.refresh().error.code == 437  # type: ignore[union-attr]
    assert any(isinstance(event, AllocationMoved) for event in stage.events)
    third = StageClient(stage, host="192.0.2.100")
    assert third.refresh(None, (att.MOBILITY_TICKET, ticket)).error.code == 400  # type: ignore[union-attr]
    assert third.refresh(None, (att.MOBILITY_TICKET, second)).error is None


def test_a_retransmitted_move_has_the_same_answer() -> None:
    stage = Stage(mobility=True)
    _, ticket = mobile(stage)
    new = StageClient(stage, host="192.0.2.99")
    new.code(Method.REFRESH)
    _, data = new.wire(Method.REFRESH, (att.MOBILITY_TICKET, ticket))
    assert stage.receive(data, new.path) == stage.receive(data, new.path) != []


def test_what_a_move_is_refused_for() -> None:
    stage = Stage(mobility=True)
    old, ticket = mobile(stage)
    assert old.refresh(None, (att.MOBILITY_TICKET, ticket)).error.code == 400  # type: ignore[union-attr]
    new = StageClient(stage, host="192.0.2.99")
    assert new.refresh(None, (att.MOBILITY_TICKET, ticket[:-1] + b"\0")).error.code == 400  # type: ignore[union-attr]
    thief = StageClient(stage, "bob", host="192.0.2.98")
    assert thief.refresh(None, (att.MOBILITY_TICKET, ticket)).error.code == 441  # type: ignore[union-attr]
    old.refresh(0)
    assert new.refresh(None, (att.MOBILITY_TICKET, ticket)).error.code == 437  # type: ignore[union-attr]
    plain = StageClient(Stage())
    assert plain.refresh(None, (att.MOBILITY_TICKET, ticket)).error.code == 405  # type: ignore[union-attr]


def test_a_refused_move_leaves_the_ticket_good() -> None:
    stage = Stage(mobility=True)
    _, ticket = mobile(stage)
    new = StageClient(stage, host="192.0.2.99")
    moved = (att.MOBILITY_TICKET, ticket)
    assert new.refresh(None, moved, (att.REQUESTED_ADDRESS_FAMILY, 2)).error.code == 443  # type: ignore[union-attr]
    assert new.refresh(None, moved).error is None


ASK = (Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17))


def test_the_quota_of_an_address_follows_a_move() -> None:
    stage = Stage(mobility=True, limits=RelayLimits(allocations_per_source=1))
    _, ticket = mobile(stage)
    new = StageClient(stage, host="192.0.2.99", port=9)
    assert new.refresh(None, (att.MOBILITY_TICKET, ticket)).error is None
    # Until it sends data both addresses are served, and both count it.
    assert StageClient(stage, port=5001).code(*ASK) == 486
    assert StageClient(stage, host="192.0.2.99", port=5001).code(*ASK) == 486
    assert new.send_on(0x4001, b"x")
    assert StageClient(stage, host="192.0.2.99", port=5002).code(*ASK) == 486
    assert StageClient(stage, port=5002).code(*ASK) == 0
    stage.wait(601)
    assert len(stage.server._state.users) == len(stage.server._state.sources) == 0


def test_a_move_does_not_exceed_the_quota_of_the_new_address() -> None:
    stage = Stage(mobility=True, limits=RelayLimits(allocations_per_source=1))
    _, ticket = mobile(stage)
    StageClient(stage, "bob", host="192.0.2.99").allocate()
    new = StageClient(stage, host="192.0.2.99", port=9)
    assert new.refresh(None, (att.MOBILITY_TICKET, ticket)).error.code == 486  # type: ignore[union-attr]
    # Another port of the old address is no more than there was, and the refused ticket is still good.
    same = StageClient(stage, port=5001)
    assert same.refresh(None, (att.MOBILITY_TICKET, ticket)).error is None
    assert same.send_on(0x4001, b"x")
    same.refresh(0)
    assert len(stage.server._state.sources) == 1


def test_a_move_that_is_given_up_for_another_one_counts_no_more() -> None:
    stage = Stage(mobility=True, limits=RelayLimits(allocations_per_source=1))
    _, ticket = mobile(stage)
    for number in (98, 99):
        new = StageClient(stage, host=f"192.0.2.{number}")
        ticket = new.refresh(None, (att.MOBILITY_TICKET, ticket)).get(att.MOBILITY_TICKET)
    assert len(stage.server._state.sources) == 2
    assert StageClient(stage, host="192.0.2.98").code(*ASK) == 0
    stage.wait(601)
    assert len(stage.server._state.sources) == 0


def close(stage: Stage, client: StageClient) -> None:
    stage.server.path_closed(client.path, stage.now)
    stage.drain()


def test_the_old_stream_of_a_moving_client_may_close_and_so_may_the_new_one() -> None:
    stage = Stage(mobility=True, limits=RelayLimits(allocations_per_source=1))
    for closes_old in (True, False):
        old = StageClient(stage, protocol=TCP)
        ticket = old.allocate((att.MOBILITY_TICKET, b"")).get(att.MOBILITY_TICKET)
        old.permit(PEER)
        new = StageClient(stage, host="192.0.2.99", protocol=TCP)
        assert new.refresh(None, (att.MOBILITY_TICKET, ticket)).error is None
        close(stage, old if closes_old else new)
        stays = new if closes_old else old
        assert [path for path, _ in stage.from_peer(b"x", old.relayed[0], PEER)] == [stays.path]
        assert len(stage.server._state.sources) == 1
        assert stays.refresh(0).error is None
        close(stage, stays)
    assert len(stage.server._state.sources) == 0


def test_a_send_indication_from_the_new_address_completes_a_move_too() -> None:
    stage = Stage(mobility=True)
    old, ticket = mobile(stage)
    new = StageClient(stage, host="192.0.2.99")
    new.refresh(None, (att.MOBILITY_TICKET, ticket))
    assert new.permit(PEER) == 0  # requests are served there, and are no data
    assert stage.from_peer(b"x", old.relayed[0], PEER)[0][0] == old.path
    assert new.send(b"x", PEER)
    assert stage.from_peer(b"x", old.relayed[0], PEER)[0][0] == new.path


def test_who_gets_the_address_of_a_lost_connection_gets_nothing_of_its_allocation() -> None:
    stage = Stage(mobility=True)
    client = StageClient(stage, protocol=TCP)
    ticket = client.allocate((att.MOBILITY_TICKET, b"")).get(att.MOBILITY_TICKET)
    client.bind(0x4001, PEER)
    close(stage, client)
    stranger = StageClient(stage, "bob", protocol=TCP)  # the same address and port, as a NAT hands them out again
    assert stranger.path == client.path
    assert stranger.send_on(0x4001, b"x") == []
    assert stage.from_peer(b"secret", client.relayed[0], PEER) == []
    assert stranger.allocate().error is None
    assert stranger.permit(PEER) == 0
    back = StageClient(stage, port=5001, protocol=TCP)
    assert back.refresh(None, (att.MOBILITY_TICKET, ticket)).error is None
    assert stage.from_peer(b"x", client.relayed[0], PEER)[0][0] == back.path  # nobody else is served
    back.refresh(0)
    assert stage.from_peer(b"x", stranger.relayed[0], PEER)[0][0] == stranger.path


def test_a_mobile_client_that_loses_its_connection_may_come_back() -> None:
    stage = Stage(mobility=True)
    client = StageClient(stage, protocol=TCP)
    ticket = client.allocate((att.MOBILITY_TICKET, b"")).get(att.MOBILITY_TICKET)
    stage.server.path_closed(client.path, stage.now)
    stage.drain()
    back = StageClient(stage, port=5001, protocol=TCP)
    assert back.refresh(None, (att.MOBILITY_TICKET, ticket)).error is None
    stage.wait(601)
    assert not stage.open
