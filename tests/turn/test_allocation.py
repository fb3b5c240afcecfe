"""Keeping an allocation alive, losing it, and giving it back."""

from __future__ import annotations

import pytest

from stun import attributes as att
from stun.message import Method
from tests.turn.fake_server import (
    PEER,
    STREAM,
    FakeServer,
    Stage,
    loss,
)
from turn import errors
from turn.allocation import AllocationState
from turn.config import ChannelPolicy, TurnClientConfig
from turn.events import (
    AllocationLost,
    Closed,
)


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


def test_closing_gives_the_allocation_back() -> None:
    stage = Stage().start()
    stage.client.close(stage.now)
    stage.client.close(stage.now)
    stage.pump()
    assert stage.methods()[2:] == ["REFRESH"]
    assert stage.server.requests[-1].get(att.LIFETIME) == 0
    assert stage.events[1:] == [Closed()]
    assert stage.client.next_timeout() is None


@pytest.mark.parametrize("code", [437, 500])
def test_a_deletion_that_meets_437_is_done(code: int) -> None:
    server = FakeServer()
    stage = Stage(server).start()
    server.refuse(Method.REFRESH, code)
    stage.client.close(stage.now)
    stage.pump()
    assert stage.events[1:] == [Closed()]
    assert stage.now == 0.0


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


def test_a_refresh_that_finds_too_many_requests_waiting_is_asked_again() -> None:
    tuning = TurnClientConfig(keepalive=None, channels=ChannelPolicy.ON_DEMAND, max_outstanding=1, max_waiting=2)
    stage = Stage(tuning=tuning).start()
    stage.run(until=535.0)
    stage.server.mute.add(Method.CHANNEL_BIND)
    for port in (1, 2, 3):
        stage.client.bind_channel(PEER._replace(port=port), stage.now)
        stage.pump()
    stage.run(until=560.0)
    assert stage.server.count(Method.REFRESH) == 0
    stage.server.mute.clear()
    stage.run(until=2000.0)
    assert not stage.of(AllocationLost)
    assert stage.server.count(Method.REFRESH) >= 3
