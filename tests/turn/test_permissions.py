"""Permissions: asked for in batches, refreshed in time, and what a refusal of a batch means."""

from __future__ import annotations

import pytest

from stun import attributes as att
from stun.message import Method
from tests.turn.fake_server import PEER, FakeServer, Refusal, Stage, data_indication
from turn import errors
from turn.config import ChannelPolicy, TurnClientConfig
from turn.events import AllocationLost, PermissionFailed, PermissionGranted

QUIET = TurnClientConfig(keepalive=None, channels=ChannelPolicy.ON_DEMAND)
HOSTS = [f"203.0.113.{number}" for number in range(1, 21)]


def asked(stage: Stage) -> list[list[str]]:
    """The hosts of every CreatePermission that the server has seen."""
    return [
        [peer.host for peer in request.get_all(att.XOR_PEER_ADDRESS)]
        for request in stage.server.requests
        if request.method is Method.CREATE_PERMISSION
    ]


def test_permissions_that_are_asked_for_early_go_out_with_the_allocation() -> None:
    stage = Stage(tuning=QUIET)
    stage.client.create_permission(HOSTS[:2], 0.0)
    stage.client.create_permission([HOSTS[2]], 0.0)
    stage.start()
    assert stage.methods() == ["ALLOCATE", "ALLOCATE", "CREATE_PERMISSION"]
    assert asked(stage) == [HOSTS[:3]]
    assert stage.of(PermissionGranted) == [PermissionGranted(host) for host in HOSTS[:3]]


def test_calls_between_two_drains_share_a_request() -> None:
    stage = Stage(tuning=QUIET).start()
    for host in HOSTS:
        stage.client.create_permission([host, host], stage.now)
    stage.pump()
    assert asked(stage) == [HOSTS[:12], HOSTS[12:]]
    assert all(len(data) <= 576 - 28 for data in stage.sent), "datagrams for a path of unknown MTU (RFC 8489 6.1)"


def test_they_are_refreshed_every_four_minutes_and_together() -> None:
    stage = Stage(tuning=QUIET).start()
    stage.client.create_permission(HOSTS[:1], stage.now)
    stage.run(until=20.0)
    stage.client.create_permission(HOSTS[1:2], stage.now)
    stage.run(until=239.9)
    assert asked(stage) == [HOSTS[:1], HOSTS[1:2]]
    stage.run(until=240.1)
    assert asked(stage)[2:] == [HOSTS[:2]], "the one that is due in 20 s goes with the one that is due"
    stage.run(until=1000.0)
    assert asked(stage)[2:] == [HOSTS[:2]] * 4
    assert len(stage.of(PermissionGranted)) == 2


def test_they_are_refreshed_under_a_channel_too() -> None:
    stage = Stage(tuning=QUIET).start()
    stage.client.bind_channel(PEER, stage.now)
    stage.run(until=1200.0)
    # 240, 480, then the ChannelBind of 540 has refreshed the permission: 780, 1020, and so on.
    assert len(asked(stage)) == 1 + 4
    assert stage.server.count(Method.CHANNEL_BIND) == 3
    assert stage.client.is_permitted(PEER.host)


def test_one_that_is_dropped_runs_out() -> None:
    stage = Stage(tuning=QUIET).start()
    stage.client.create_permission(HOSTS[:1], stage.now)
    stage.pump()
    stage.client.drop_permission(HOSTS[0], stage.now)
    stage.client.drop_permission("nobody", stage.now)
    stage.run(until=500.0)
    assert asked(stage) == [HOSTS[:1]]
    assert not stage.client.is_permitted(HOSTS[0])


def test_dropping_one_lets_its_channels_run_out_too_and_takes_nothing_more() -> None:
    stage = Stage(tuning=QUIET).start()
    other = PEER._replace(host="203.0.113.6")
    stage.client.bind_channel(PEER, stage.now)
    stage.client.bind_channel(other, stage.now)
    stage.pump()
    stage.client.drop_permission(PEER.host, stage.now)
    # A ChannelBind would install the permission again (RFC 8656 section 12.2).
    stage.feed(data_indication(PEER, b"x"))
    stage.feed(b"\x40\0\0\1x")
    assert stage.client.next_data() is None
    assert not stage.client.has_channel(PEER)
    stage.run(until=2000.0)
    peers = [peer for request in stage.server.requests[4:] for peer in request.get_all(att.XOR_PEER_ADDRESS)]
    assert {peer.host for peer in peers} == {other.host}
    assert not stage.client.is_permitted(PEER.host)
    assert stage.client.decode(b"\x40\1\0\1x") == (other, b"x")


def test_a_channel_that_the_server_still_holds_counts_again_with_its_permission() -> None:
    stage = Stage(tuning=QUIET).start()
    stage.client.bind_channel(PEER, stage.now)
    stage.pump()
    stage.client.drop_permission(PEER.host, stage.now)
    stage.run(until=100.0)
    stage.client.create_permission([PEER.host], stage.now)
    assert stage.client.decode(b"\x40\0\0\1x") is None, "not before the server has answered"
    stage.pump()
    # Servers send what they have a channel for in ChannelData (RFC 8656 section 12.7), whoever has forgotten it.
    assert stage.client.decode(b"\x40\0\0\1x") == (PEER, b"x")
    assert not stage.client.has_channel(PEER), "it is not bound again for that"
    stage.run(until=599.9)
    assert stage.client.decode(b"\x40\0\0\1x") == (PEER, b"x")
    stage.run(until=600.1)
    assert stage.client.decode(b"\x40\0\0\1x") is None
    assert stage.server.count(Method.CHANNEL_BIND) == 1


def test_data_that_waits_for_one_that_is_dropped_is_never_sent() -> None:
    stage = Stage(tuning=TurnClientConfig(keepalive=None, channels=ChannelPolicy.AT_ONCE)).start()
    stage.lose = True
    stage.client.send(PEER, b"old", stage.now)
    stage.pump()
    stage.client.drop_permission(PEER.host, stage.now)
    assert stage.client.dropped_data == 1
    stage.lose = False
    stage.client.send(PEER, b"new", stage.now)
    stage.pump()
    assert [indication.get(att.DATA) for indication in stage.server.indications] == [b"new"]


def test_a_peer_that_was_about_to_have_a_channel_has_none_once_it_is_dropped() -> None:
    stage = Stage(tuning=TurnClientConfig(keepalive=None, channel_after=1)).start()
    stage.client.create_permission([PEER.host], stage.now)
    stage.pump()
    assert stage.client.encode(PEER, b"x") is not None
    assert stage.client.has_work
    stage.client.drop_permission(PEER.host, stage.now)
    stage.run(until=300.0)
    assert stage.server.count(Method.CHANNEL_BIND) == 0


@pytest.mark.parametrize(("code", "kind"), [(403, errors.TurnForbiddenError), (400, errors.TurnBadRequestError)])
def test_a_refused_batch_is_asked_for_one_by_one(code: int, kind: type[errors.TurnError]) -> None:
    server = FakeServer()
    stage = Stage(server, tuning=QUIET).start()
    server.refuse(Method.CREATE_PERMISSION, code, code)
    stage.client.create_permission(HOSTS[:3], stage.now)
    stage.pump()
    assert asked(stage) == [HOSTS[:3], [HOSTS[0]], [HOSTS[1]], [HOSTS[2]]]
    (failed,) = stage.of(PermissionFailed)
    assert isinstance(failed, PermissionFailed)
    assert (failed.host, type(failed.error)) == (HOSTS[0], kind)
    assert [stage.client.is_permitted(host) for host in HOSTS[:3]] == [False, True, True]


def test_data_for_a_refused_peer_is_dropped() -> None:
    server = FakeServer()
    stage = Stage(server, tuning=QUIET).start()
    server.refuse(Method.CREATE_PERMISSION, 403)
    stage.client.send(PEER, b"x", stage.now)
    stage.pump()
    assert stage.of(PermissionFailed)
    assert stage.client.dropped_data == 1
    assert server.indications == []


def test_another_family_is_refused_without_asking() -> None:
    stage = Stage(tuning=QUIET).start()
    stage.client.create_permission(["2001:db8::5", HOSTS[0]], stage.now)
    stage.pump()
    assert asked(stage) == [[HOSTS[0]]]
    (failed,) = stage.of(PermissionFailed)
    assert isinstance(failed, PermissionFailed)
    assert isinstance(failed.error, errors.TurnPeerFamilyError)


def test_a_dual_allocation_permits_both_families() -> None:
    stage = Stage(tuning=QUIET, families=(4, 6)).start()
    stage.client.create_permission(["2001:db8::5", HOSTS[0]], stage.now)
    stage.pump()
    assert asked(stage) == [["2001:db8::5", HOSTS[0]]]


def test_a_refresh_that_fails_is_tried_until_the_permission_is_over() -> None:
    server = FakeServer()
    stage = Stage(server, tuning=QUIET).start()
    stage.client.create_permission(HOSTS[:1], stage.now)
    stage.pump()
    server.refuse(Method.CREATE_PERMISSION, *[500] * 40)
    stage.run(until=239.0)
    assert stage.client.is_permitted(HOSTS[0])
    stage.run(until=299.0)
    assert 2 < len(asked(stage)) < 40, "every two seconds"
    stage.run(until=301.0)
    assert not stage.client.is_permitted(HOSTS[0])
    assert len(stage.of(PermissionFailed)) == 1
    count = len(asked(stage))
    stage.run(until=500.0)
    assert len(asked(stage)) == count


def test_a_silent_server_closes_them_in_time() -> None:
    stage = Stage(tuning=QUIET).start()
    stage.client.create_permission(HOSTS[:1], stage.now)
    stage.pump()
    stage.server.mute.add(Method.CREATE_PERMISSION)
    stage.run(until=310.0)
    assert not stage.client.is_permitted(HOSTS[0])
    assert not stage.of(AllocationLost)
    assert stage.client.encode(PEER._replace(host=HOSTS[0]), b"x") is None


def test_there_is_a_limit() -> None:
    stage = Stage(tuning=TurnClientConfig(keepalive=None, max_permissions=2)).start()
    stage.client.create_permission(HOSTS[:3], stage.now)
    stage.pump()
    (failed,) = stage.of(PermissionFailed)
    assert isinstance(failed, PermissionFailed)
    assert (failed.host, type(failed.error)) == (HOSTS[2], errors.TurnLimitError)


def test_at_most_ten_requests_are_under_way() -> None:
    stage = Stage(tuning=TurnClientConfig(keepalive=None, permission_batch=1)).start()
    stage.lose = True
    stage.client.create_permission(HOSTS, stage.now)
    stage.pump()
    assert stage.methods().count("CREATE_PERMISSION") == 10
    stage.lose = False
    stage.run(until=1.0)
    assert len(stage.of(PermissionGranted)) == 20


def test_a_stale_nonce_renews_all_requests_under_way() -> None:
    server = FakeServer(nonce_lifetime=10.0)
    stage = Stage(server, tuning=TurnClientConfig(keepalive=None, permission_batch=1)).start()
    stage.run(until=100.0)
    stage.client.create_permission(HOSTS[:5], stage.now)
    stage.pump()
    assert len(stage.of(PermissionGranted)) == 5
    assert len(asked(stage)) <= 10


def test_an_unsigned_refusal_is_no_refusal() -> None:
    server = FakeServer()
    stage = Stage(server, tuning=QUIET).start()
    server.refuse(Method.CREATE_PERMISSION, Refusal(403, signed=False))
    stage.client.create_permission(HOSTS[:1], stage.now)
    stage.pump()
    assert not stage.of(PermissionFailed)
    stage.run(until=1.0)
    assert stage.client.is_permitted(HOSTS[0]), "the request was sent again"
