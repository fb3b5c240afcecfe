"""Allocations that move (RFC 8016), and credentials that run out under a live one."""

from __future__ import annotations

import pytest

from stun import attributes as att
from stun.address import FiveTuple, TransportProtocol
from stun.message import Method, parse
from tests.turn.fake_server import CLIENT, PATH, PEER, STREAM, FakeServer, Stage
from turn import errors
from turn.config import ChannelPolicy, Credentials, TurnClientConfig
from turn.events import (
    Allocated,
    AllocationFailed,
    AllocationLost,
    ChannelBound,
    CredentialsWanted,
    Moved,
    MoveFailed,
    PermissionGranted,
)

NEW = PATH._replace(local=CLIENT._replace(port=2000))
QUIET = TurnClientConfig(keepalive=None, channels=ChannelPolicy.ON_DEMAND)


async def provider() -> Credentials:
    raise AssertionError("a machine never calls it")


# -- moving


def test_an_allocation_moves_with_its_ticket_and_keeps_everything() -> None:
    stage = Stage(mobility=True, tuning=QUIET).start()
    (allocated,) = stage.of(Allocated)
    assert isinstance(allocated, Allocated)
    assert allocated.mobile
    assert stage.server.requests[1].get(att.MOBILITY_TICKET) == b""
    stage.client.bind_channel(PEER, stage.now)
    stage.pump()
    for number, path in enumerate((NEW, PATH, NEW), 1):
        stage.client.move(path, stage.now)
        stage.pump()
        ticket = stage.server.requests[-1].get(att.MOBILITY_TICKET)
        assert ticket == b"ticket %d" % number, "the newest one each time"
        assert stage.client.path == path
    assert stage.of(Moved) == [Moved(NEW), Moved(PATH), Moved(NEW)]
    assert stage.client.has_channel(PEER)
    assert stage.client.is_permitted(PEER.host)
    stage.run(until=600.0)
    assert not stage.of(AllocationLost)


def test_data_stays_on_the_old_path_until_the_move_is_confirmed() -> None:
    stage = Stage(mobility=True, tuning=QUIET).start()
    stage.lose = True
    stage.client.move(NEW, stage.now)
    stage.pump()
    assert stage.client.path == PATH
    with pytest.raises(ValueError, match="now"):
        stage.client.move(NEW._replace(local=PEER), stage.now)
    stage.run(until=60.0)
    (failed,) = stage.of(MoveFailed)
    assert isinstance(failed, MoveFailed)
    assert isinstance(failed.error, errors.TurnTimeoutError)
    assert stage.client.path == PATH


@pytest.mark.parametrize("code", [400, 437, 441])
def test_a_move_that_is_refused_leaves_the_allocation_where_it_was(code: int) -> None:
    server = FakeServer()
    stage = Stage(server, mobility=True, tuning=QUIET).start()
    server.refuse(Method.REFRESH, code)
    stage.client.move(NEW, stage.now)
    stage.pump()
    (failed,) = stage.of(MoveFailed)
    assert isinstance(failed, MoveFailed)
    assert failed.error.code == code
    assert not stage.of(AllocationLost)
    stage.run(until=1000.0)
    assert stage.client.path == PATH


def test_a_server_without_mobility_still_gives_an_allocation() -> None:
    server = FakeServer()
    server.refuse(Method.ALLOCATE, 405)
    stage = Stage(server, mobility=True).start()
    (allocated,) = stage.of(Allocated)
    assert isinstance(allocated, Allocated)
    assert not allocated.mobile
    assert stage.methods() == ["ALLOCATE"] * 3
    assert att.MOBILITY_TICKET not in server.requests[-1]
    with pytest.raises(ValueError, match="mobility"):
        stage.client.move(NEW, stage.now)


def test_a_move_needs_a_new_path_of_the_same_kind() -> None:
    stage = Stage(mobility=True).start()
    with pytest.raises(ValueError, match="cannot move"):
        stage.client.move(PATH, stage.now)
    with pytest.raises(ValueError, match="streams"):
        stage.client.move(STREAM, stage.now)


def test_a_move_over_streams() -> None:
    stage = Stage(path=STREAM, mobility=True).start()
    new = STREAM._replace(local=NEW.local)
    stage.client.path_opened(new, stage.now)
    stage.client.move(new, stage.now)
    stage.pump()
    assert stage.of(Moved) == [Moved(new)]
    stage.client.path_closed(STREAM, stage.now)
    stage.pump()
    assert not stage.of(AllocationLost), "the old connection is of no use any more"


def test_the_old_stream_may_go_before_the_move_is_confirmed() -> None:
    # coturn closes it together with its answer on the new one.
    for lost in (False, True):
        stage = Stage(path=STREAM, mobility=True).start()
        new = STREAM._replace(local=NEW.local)
        stage.client.path_opened(new, stage.now)
        if lost:
            stage.server.refuse(Method.REFRESH, 437)
        stage.client.move(new, stage.now)
        stage.client.path_closed(STREAM, stage.now)
        stage.pump()
        assert len(stage.of(Moved)) == (not lost)
        assert len(stage.of(AllocationLost)) == lost


def test_the_new_stream_may_break() -> None:
    stage = Stage(path=STREAM, mobility=True).start()
    new = STREAM._replace(local=NEW.local)
    stage.client.path_opened(new, stage.now)
    stage.server.mute.add(Method.REFRESH)
    stage.client.move(new, stage.now)
    stage.pump()
    stage.client.receive_data(b"\x08nonsense", new, stage.now)
    stage.pump()
    (failed,) = stage.of(MoveFailed)
    assert isinstance(failed, MoveFailed)
    assert isinstance(failed.error, errors.TurnUnreachableError)
    assert stage.released == [new]
    assert not stage.of(AllocationLost)


@pytest.mark.parametrize("path", [PATH, STREAM])
def test_what_was_asked_before_the_move_is_asked_again_after_it(path: FiveTuple) -> None:
    stage = Stage(path=path, mobility=True, tuning=QUIET).start()
    new = path._replace(local=NEW.local)
    stage.server.mute |= {Method.CREATE_PERMISSION, Method.CHANNEL_BIND}
    stage.client.bind_channel(PEER, stage.now)
    stage.pump()
    late = stage.sent[-2:]
    stage.server.mute.clear()
    if path.protocol.is_stream:
        stage.client.path_opened(new, stage.now)
    stage.client.move(new, stage.now)
    stage.pump()
    assert stage.of(PermissionGranted, ChannelBound) == [PermissionGranted(PEER.host), ChannelBound(PEER, 0x4000)]
    assert stage.now == 0.0, "not after the time-outs of the old path"
    # What the server thinks of the old path by now does not matter.
    for wire in late:
        stage.server.refuse(parse(wire).method, 437)
        for reply in stage.server.receive(wire, path.local, stage.now):
            stage.feed(reply, path)
    stage.run(until=200.0)
    assert not stage.of(AllocationLost)


def test_a_move_asks_for_the_same_lifetime() -> None:
    stage = Stage(FakeServer(lifetime=3600), mobility=True, tuning=QUIET, lifetime=1800).start()
    stage.client.move(NEW, stage.now)
    stage.pump()
    assert stage.server.requests[-1].get(att.LIFETIME) == 1800


@pytest.mark.parametrize(
    ("protocol", "mobile"),
    [
        (TransportProtocol.UDP, False),
        (TransportProtocol.TCP, False),
        (TransportProtocol.TLS, True),
        (TransportProtocol.DTLS, True),
    ],
)
def test_what_nothing_protects_does_not_move(protocol: TransportProtocol, mobile: bool) -> None:
    server = FakeServer()
    server.open = True
    stage = Stage(server, path=PATH._replace(protocol=protocol), mobility=True, tuning=QUIET).start()
    (allocated,) = stage.of(Allocated)
    assert isinstance(allocated, Allocated)
    assert allocated.mobile is mobile
    if not mobile:
        with pytest.raises(ValueError, match="mobility"):
            stage.client.move(NEW._replace(protocol=protocol), stage.now)


# -- credentials that run out


def expiring(server: FakeServer, lifetime: float | None) -> Stage:
    return Stage(server, credentials=Credentials("1:maria", "a", lifetime), provider=provider, tuning=QUIET).start()


def test_new_credentials_are_asked_for_in_time_and_used_when_the_old_ones_are_refused() -> None:
    server = FakeServer({"1:maria": "a"})
    stage = expiring(server, lifetime=300.0)
    stage.client.create_permission([PEER.host], stage.now)
    stage.run(until=239.0)
    assert not stage.of(CredentialsWanted)
    stage.run(until=240.0)
    assert stage.of(CredentialsWanted) == [CredentialsWanted()]
    stage.client.renew(Credentials("2:maria", "b", 300.0), stage.now)
    stage.run(until=299.0)
    server.set_users({"2:maria": "b"})
    before = len(stage.sent)
    stage.run(until=539.0)
    # The CreatePermission of 480 s is refused for the old user and goes out again at once for the new one.
    assert stage.methods()[before:] == ["CREATE_PERMISSION", "CREATE_PERMISSION"]
    assert server.granted_usernames[-1] == "2:maria"
    assert len(stage.of(CredentialsWanted)) == 2
    assert not stage.of(AllocationLost)
    assert stage.of(PermissionGranted) == [PermissionGranted(PEER.host)]


def test_a_server_that_goes_on_taking_the_old_ones_never_sees_the_new() -> None:
    server = FakeServer({"1:maria": "a", "2:maria": "b"})
    stage = expiring(server, lifetime=300.0)
    stage.run(until=240.0)
    stage.client.renew(Credentials("2:maria", "b"), stage.now)
    stage.run(until=2000.0)
    assert set(server.granted_usernames) == {"1:maria"}
    assert len(stage.of(CredentialsWanted)) == 1


def test_a_request_that_is_refused_waits_for_new_credentials() -> None:
    server = FakeServer({"1:maria": "a"})
    stage = expiring(server, lifetime=None)
    server.set_users({"2:maria": "b"})
    stage.run(until=541.0)
    assert stage.of(CredentialsWanted) == [CredentialsWanted()]
    assert stage.methods()[2:] == ["REFRESH"]
    stage.client.renew(Credentials("2:maria", "b"), stage.now)
    stage.pump()
    assert stage.methods()[2:] == ["REFRESH"] * 3, "one more for the challenge of the new user"
    stage.run(until=1000.0)
    assert not stage.of(AllocationLost)


def test_without_new_credentials_the_allocation_is_lost_for_that_reason() -> None:
    server = FakeServer({"1:maria": "a"})
    stage = expiring(server, lifetime=None)
    server.set_users({"2:maria": "b"})
    stage.run(until=541.0)
    problem = errors.TurnCredentialsError("the shop is closed", server="turn:x")
    stage.client.renewal_failed(problem, stage.now)
    stage.pump()
    (lost,) = stage.of(AllocationLost)
    assert isinstance(lost, AllocationLost)
    assert lost.error is problem
    assert stage.client.next_timeout() is None


def test_new_credentials_that_are_wrong_too_are_the_end() -> None:
    server = FakeServer({"1:maria": "a"})
    stage = expiring(server, lifetime=None)
    server.set_users({"2:maria": "b"})
    stage.run(until=541.0)
    stage.client.renew(Credentials("3:maria", "c"), stage.now)
    stage.pump()
    (lost,) = stage.of(AllocationLost)
    assert isinstance(lost, AllocationLost)
    assert isinstance(lost.error, errors.TurnCredentialsError)


def test_a_failed_renewal_ahead_of_time_is_tried_again() -> None:
    stage = expiring(FakeServer({"1:maria": "a"}), lifetime=300.0)
    stage.run(until=240.0)
    stage.client.renewal_failed(errors.TurnCredentialsError("later"), stage.now)
    stage.run(until=244.9)
    assert len(stage.of(CredentialsWanted)) == 1
    stage.run(until=245.1)
    assert len(stage.of(CredentialsWanted)) == 2
    assert not stage.of(AllocationLost)


def test_another_user_on_a_strict_server_loses_the_allocation() -> None:
    server = FakeServer({"1:maria": "a"})
    stage = expiring(server, lifetime=300.0)
    stage.run(until=240.0)
    stage.client.renew(Credentials("2:maria", "b"), stage.now)
    server.set_users({"2:maria": "b"})
    server.refuse(Method.REFRESH, 441)
    stage.run(until=600.0)
    (lost,) = stage.of(AllocationLost)
    assert isinstance(lost, AllocationLost)
    assert isinstance(lost.error, errors.TurnWrongUserError)
    assert not stage.of(AllocationFailed)


def test_new_credentials_that_cannot_be_sent_change_nothing() -> None:
    stage = expiring(FakeServer({"1:maria": "a"}), lifetime=300.0)
    stage.run(until=240.0)
    with pytest.raises(ValueError, match="OpaqueString"):
        stage.client.renew(Credentials("2:maria", "b\x07", 300.0), stage.now)
    stage.client.renewal_failed(errors.TurnCredentialsError("no good"), stage.now)
    stage.run(until=245.1)
    assert len(stage.of(CredentialsWanted)) == 2


def test_credentials_that_have_run_out_already_are_asked_for_again_after_a_pause() -> None:
    stage = expiring(FakeServer({"1:maria": "a"}), lifetime=0.0)
    for wanted in (0, 1, 2):
        assert len(stage.of(CredentialsWanted)) == wanted
        if wanted:
            stage.client.renew(Credentials("1:maria", "a", -60.0), stage.now)
            stage.pump()
            assert len(stage.of(CredentialsWanted)) == wanted, "not at once"
        stage.run(until=stage.now + 5.0)


def test_a_ticket_that_is_too_long_to_show_fails_the_move() -> None:
    server = FakeServer()
    stage = Stage(server, path=STREAM, mobility=True)
    server.ticket = bytes(65_400)
    stage.start()
    new = STREAM._replace(local=NEW.local)
    stage.client.path_opened(new, stage.now)
    stage.client.move(new, stage.now)
    stage.pump()
    (failed,) = stage.of(MoveFailed)
    assert isinstance(failed, MoveFailed)
    assert isinstance(failed.error, errors.TurnProtocolError)
    assert not stage.of(AllocationLost)
