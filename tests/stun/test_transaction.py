from __future__ import annotations

import random

import pytest

from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.config import TransactionConfig
from stun.machine import Deadline, Transmit
from stun.message import Message, MessageClass, Method
from stun.transaction import RttCache, TransactionTable, new_transaction_id

PATH = FiveTuple(TransportAddress("192.0.2.1", 1000), TransportAddress("198.51.100.1", 3478))
STREAM = PATH._replace(protocol=TransportProtocol.TCP)


def a_request(number: int = 1) -> Message:
    return Message(Method.BINDING, MessageClass.REQUEST, number.to_bytes(12, "big"))


def run_out(table: TransactionTable[str], path: FiveTuple, start: float) -> tuple[list[float], float]:
    """Return when the request is sent and when it fails, as times after its start."""
    table.start(a_request(), b"wire", path, "context", start)
    sends = [0.0]
    while (deadline := table.next_timeout()) is not None:
        again, over = table.handle_timeout(deadline.at)
        sends += [deadline.at - start for _ in again]
        if over:
            assert [transaction.context for transaction in over] == ["context"]
            return sends, deadline.at - start
    raise AssertionError("the table forgot the transaction")


def test_the_schedule_of_rfc_8489() -> None:
    sends, failure = run_out(TransactionTable(), PATH, 100.0)
    assert sends == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert failure == 39.5


def test_the_schedule_is_configurable() -> None:
    table: TransactionTable[str] = TransactionTable(TransactionConfig(initial_rto=0.1, sends=3, last_wait=4))
    sends, failure = run_out(table, PATH, 0.0)
    assert sends == pytest.approx([0.0, 0.1, 0.3])
    assert failure == pytest.approx(0.7)
    assert run_out(TransactionTable(TransactionConfig(sends=1)), PATH, 0.0) == ([0.0], 8.0)


def test_a_stream_is_not_sent_on_again() -> None:
    assert run_out(TransactionTable(), STREAM, 5.0) == ([0.0], 39.5)


def test_requests_over_dtls_are_sent_again_as_over_udp() -> None:
    """RFC 7350 section 3: records are lost as datagrams are."""
    over_dtls = run_out(TransactionTable(), PATH._replace(protocol=TransportProtocol.DTLS), 0.0)
    assert over_dtls == run_out(TransactionTable(), PATH, 0.0)


def test_a_late_driver_does_not_stretch_the_schedule() -> None:
    table: TransactionTable[str] = TransactionTable()
    assert table.start(a_request(), b"wire", PATH, "", 0.0) == Transmit(b"wire", PATH)
    assert table.handle_timeout(0.499) == ([], [])
    assert table.handle_timeout(0.6) == ([Transmit(b"wire", PATH)], [])
    assert table.next_timeout() == Deadline(1.5, "transaction")


def test_there_is_no_burst_after_a_suspend() -> None:
    table: TransactionTable[str] = TransactionTable()
    table.start(a_request(), b"wire", PATH, "", 0.0)
    assert len(table.handle_timeout(1000.0)[0]) == 1
    assert table.handle_timeout(1000.0) == ([], [])
    assert table.next_timeout() == Deadline(1001.0, "transaction")


def test_matching() -> None:
    table: TransactionTable[str] = TransactionTable()
    request = a_request()
    table.start(request, b"", PATH, "", 0.0)
    assert table.match(request, PATH) is None
    assert table.match(a_request(2).success(), PATH) is None
    elsewhere = PATH._replace(remote=TransportAddress("198.51.100.2", 3478))
    assert table.match(request.success(), elsewhere) is None
    assert table.match(Message(Method.REFRESH, MessageClass.SUCCESS, request.transaction_id), PATH) is None
    found = table.match(request.failure(400, ""), PATH)
    assert found is not None
    table.finish(found, 0.1)
    assert table.match(request.success(), PATH) is None
    table.finish(found, 0.2)
    assert len(table) == 0
    assert table.next_timeout() is None


def test_misuse() -> None:
    table: TransactionTable[str] = TransactionTable(TransactionConfig(max_outstanding=2))
    table.start(a_request(1), b"", PATH, "", 0.0)
    with pytest.raises(ValueError):
        table.start(a_request(1), b"", PATH, "", 0.0)
    with pytest.raises(ValueError):
        table.start(a_request(2).success(), b"", PATH, "", 0.0)
    table.start(a_request(2), b"", STREAM, "", 0.0)
    with pytest.raises(ValueError, match="outstanding"):
        table.start(a_request(3), b"", PATH, "", 0.0)
    assert [transaction.path for transaction in table.on_path(STREAM)] == [STREAM]
    assert table.cancel(a_request(1).transaction_id) is not None
    assert table.cancel(a_request(1).transaction_id) is None
    with pytest.raises(ValueError):
        TransactionConfig(sends=0)


def test_round_trips_are_remembered_by_karns_rule() -> None:
    table: TransactionTable[str] = TransactionTable()
    host = PATH.remote.host

    def ask(number: int, answered_after: float) -> None:
        table.start(a_request(number), b"", PATH, "", 0.0)
        table.handle_timeout(answered_after)
        found = table.match(a_request(number).success(), PATH)
        assert found is not None
        table.finish(found, answered_after)

    ask(1, 0.6)  # sent twice: no sample
    assert table.round_trips.rto(host, 1.0) == 0.5
    ask(2, 0.4)
    assert table.round_trips.rto(host, 1.0) == pytest.approx(0.4 + 4 * 0.2)
    ask(3, 0.4)
    assert table.round_trips.rto(host, 1.0) == pytest.approx(0.4 + 4 * 0.15)
    assert table.round_trips.rto(host, 1000.0) == 0.5


def test_a_round_trip_is_forgotten_ten_minutes_after_the_last_transaction() -> None:
    """Section 6.2.1: a transaction without a sample, as one that was sent twice, keeps it too."""
    cache = RttCache(TransactionConfig())
    cache.note("a", 2.0, 0.0)
    assert cache.rto("a", 500.0) > 0.5
    assert cache.rto("a", 1100.0) > 0.5
    assert cache.rto("a", 1701.0) == 0.5


def test_the_round_trip_cache_is_bounded_and_never_hasty() -> None:
    cache = RttCache(TransactionConfig(rtt_cache_size=2))
    cache.note("a", 0.001, 0.0)
    assert cache.rto("a", 0.0) == 0.5
    for host in ("a", "b", "c"):
        cache.note(host, 2.0, 0.0)
    assert [cache.rto(host, 0.0) > 0.5 for host in ("a", "b", "c")] == [False, True, True]


def test_transaction_ids() -> None:
    rng = random.Random(1)
    ids = {new_transaction_id(rng) for _ in range(100)}
    assert len(ids) == 100
    assert all(len(each) == 12 for each in ids)
