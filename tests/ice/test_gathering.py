from __future__ import annotations

import random

import pytest

from ice.candidate import Base, Candidate, CandidateType
from ice.config import IceConfig
from ice.gathering import Gathering, is_plausible_mapping
from ice.local import LocalCandidates
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.machine import Transmit
from stun.message import Message, MessageClass, parse
from tests.ice.builders import address

SERVER = TransportAddress("203.0.113.1", 3478)
OTHER = TransportAddress("203.0.113.2", 3478)
SERVER6 = TransportAddress("2001:db8:53::1", 3478)
BASE6 = TransportAddress("2001:db8::1", 1000)
MAPPED = TransportAddress("198.51.100.7", 40000)


def gathering(
    *bases: TransportAddress, servers: tuple[TransportAddress, ...] = (SERVER,), timeout: float = 5.0
) -> Gathering:
    config = IceConfig(gathering_timeout=timeout)
    local = LocalCandidates(config)
    for base in bases or (address(1),):
        local.add_base(Base(base))
    one = Gathering(config, local, random.Random(1))
    one.begin()
    for server in servers:
        one.add_server(server, 0.0)
    one.end_of_servers()
    return one


def run(one: Gathering, until: float) -> list[tuple[float, Transmit]]:
    """Everything that is sent up to ``until``, with its time."""
    sent = [(0.0, transmit) for transmit in one.handle_timeout(0.0)]
    while (at := one.next_timeout()) is not None and at <= until:
        sent += [(at, transmit) for transmit in one.handle_timeout(at)]
    return sent


def answer(transmit: Transmit, mapped: TransportAddress = MAPPED, xor: bool = True) -> Message:
    attribute = att.XOR_MAPPED_ADDRESS if xor else att.MAPPED_ADDRESS
    return parse(parse(transmit.data).success((attribute, mapped)).serialize())


def test_every_base_asks_every_server_of_its_family_one_each_ta() -> None:
    one = gathering(address(1), address(2), BASE6, servers=(SERVER, OTHER, SERVER6))
    sent = run(one, 0.3)
    assert [at for at, _ in sent] == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])
    assert {transmit.path for _, transmit in sent} == {
        FiveTuple(address(1), SERVER),
        FiveTuple(address(2), SERVER),
        FiveTuple(address(1), OTHER),
        FiveTuple(address(2), OTHER),
        FiveTuple(BASE6, SERVER6),
    }
    first_two = [transmit.path.remote for _, transmit in sent[:2]]
    assert first_two == [SERVER, SERVER]  # Every base has asked one before any asks a second.


def test_an_answer_makes_a_server_reflexive_candidate() -> None:
    one = gathering()
    [(_, sent)] = run(one, 0.1)
    candidate = one.receive(answer(sent), sent.path, 0.1)
    assert candidate is not None
    assert candidate.type is CandidateType.SERVER_REFLEXIVE
    assert candidate.address == MAPPED
    assert candidate.base == candidate.related_address == address(1)
    assert one.completes_now()
    assert not one.completes_now()


def test_an_old_server_may_answer_with_mapped_address() -> None:
    one = gathering()
    [(_, sent)] = run(one, 0.1)
    assert one.receive(answer(sent, xor=False), sent.path, 0.1) is not None


def test_two_servers_that_say_the_same_make_one_candidate() -> None:
    one = gathering(servers=(SERVER, OTHER))
    sent = [transmit for _, transmit in run(one, 0.1)]
    found = [one.receive(answer(transmit), transmit.path, 0.1) for transmit in sent]
    assert sum(candidate is not None for candidate in found) == 1
    assert one.completes_now()


def test_two_servers_that_differ_make_two_candidates_of_different_priority() -> None:
    one = gathering(servers=(SERVER, OTHER))
    mapped = iter([MAPPED, TransportAddress("198.51.100.7", 40001)])
    found = [one.receive(answer(transmit, next(mapped)), transmit.path, 0.1) for _, transmit in run(one, 0.1)]
    first, second = [candidate for candidate in found if isinstance(candidate, Candidate)]
    assert first.priority != second.priority
    assert first.foundation != second.foundation  # RFC 8445 section 5.1.1.3: another server


def test_no_nat_makes_no_candidate() -> None:
    one = gathering()
    [(_, sent)] = run(one, 0.1)
    assert one.receive(answer(sent, address(1)), sent.path, 0.1) is None
    assert one.completes_now()


def test_a_question_is_retransmitted_and_a_dead_server_is_given_up() -> None:
    one = gathering()
    sent = run(one, 10.0)
    assert [at for at, _ in sent] == [0.0, 0.5, 1.5, 3.5]
    assert len({transmit.data for _, transmit in sent}) == 1
    assert one.completes_now()
    assert one.next_timeout() is None


def test_the_timeout_grows_with_the_number_of_questions() -> None:
    # RFC 8445 section 14.3: Ta times the number of them, and never under 500 ms.
    one = gathering(*(address(number) for number in range(1, 17)), timeout=100.0)
    sent = [at for at, transmit in run(one, 2.9) if transmit.path.local == address(1)]
    assert sent == pytest.approx([0.0, 16 * 0.05, 3 * 16 * 0.05])


def test_a_patient_application_sees_the_whole_schedule() -> None:
    one = gathering(timeout=100.0)
    assert [at for at, _ in run(one, 200.0)] == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert one.completes_now()


def test_a_dead_server_holds_up_an_answer_not_at_all_and_the_end_only_shortly() -> None:
    one = gathering(servers=(OTHER, SERVER))
    sent = run(one, 0.06)
    live = next(transmit for _, transmit in sent if transmit.path.remote == SERVER)
    assert one.receive(answer(live), live.path, 0.08) is not None
    assert not one.completes_now()
    assert one.next_timeout() is not None
    one.handle_timeout(0.5799)
    assert not one.completes_now()
    one.handle_timeout(0.58)
    assert one.completes_now()


def test_a_server_of_one_family_is_not_given_up_because_the_other_family_answered() -> None:
    one = gathering(address(1), BASE6, servers=(SERVER, SERVER6))
    sent = [transmit for _, transmit in run(one, 0.1)]
    first = next(transmit for transmit in sent if transmit.path.local == address(1))
    one.receive(answer(first), first.path, 0.1)
    one.handle_timeout(3.0)
    assert not one.completes_now()


def test_an_error_response_ends_the_question() -> None:
    one = gathering()
    [(_, sent)] = run(one, 0.1)
    refusal = parse(parse(sent.data).failure(500, "No").serialize())
    assert one.receive(refusal, sent.path, 0.1) is None
    assert one.completes_now()


@pytest.mark.parametrize(
    "mapped",
    [
        TransportAddress("0.0.0.0", 5),
        TransportAddress("224.0.0.1", 5),
        TransportAddress("198.51.100.1", 0),
        TransportAddress("2001:db8::1", 5),
    ],
)
def test_a_lying_server_makes_no_candidate(mapped: TransportAddress) -> None:
    assert not is_plausible_mapping(mapped, address(1))
    one = gathering()
    [(_, sent)] = run(one, 0.1)
    assert one.receive(answer(sent, mapped), sent.path, 0.1) is None
    assert one.implausible == 1


def test_only_the_server_that_was_asked_may_answer_and_once() -> None:
    one = gathering()
    [(_, sent)] = run(one, 0.1)
    assert one.receive(answer(sent), FiveTuple(address(1), OTHER), 0.1) is None
    assert one.receive(answer(sent), sent.path, 0.1) is not None
    assert parse(sent.data).transaction_id not in one
    assert one.receive(answer(sent, TransportAddress("198.51.100.8", 1)), sent.path, 0.1) is None
    assert one.implausible == 2


def test_it_is_not_complete_before_the_last_server_is_named() -> None:
    config = IceConfig()
    local = LocalCandidates(config)
    local.add_base(Base(address(1)))
    one = Gathering(config, local, random.Random(1))
    assert not one.completes_now()
    assert [host.type for host in one.begin()] == [CandidateType.HOST]
    assert not one.completes_now()
    one.add_server(SERVER, 30.0)
    [sent] = one.handle_timeout(30.0)
    one.end_of_servers()
    assert not one.completes_now()
    one.receive(answer(sent), sent.path, 30.1)
    assert one.completes_now()


def test_a_base_that_comes_later_is_asked_from_too() -> None:
    config = IceConfig()
    local = LocalCandidates(config)
    local.add_base(Base(address(1)))
    one = Gathering(config, local, random.Random(1))
    one.begin()
    one.add_server(SERVER, 0.0)
    one.handle_timeout(0.0)
    local.add_base(Base(address(2)))
    [host] = one.begin()
    assert host.address == address(2)
    assert [transmit.path.local for transmit in one.handle_timeout(1.0)] == [address(2)] * 1 + [address(1)]


def test_bindings_are_kept_alive_until_it_is_stopped() -> None:
    one = gathering()
    [(_, sent)] = run(one, 0.1)
    one.receive(answer(sent), sent.path, 0.1)
    assert one.next_timeout() == pytest.approx(15.1)
    [again] = one.handle_timeout(15.1)
    assert again.path == sent.path
    assert parse(again.data).message_class is MessageClass.REQUEST
    assert parse(again.data).transaction_id in one
    assert one.receive(answer(again), again.path, 15.2) is None
    assert one.implausible == 0
    assert one.next_timeout() == pytest.approx(30.1)
    one.stop()
    assert one.next_timeout() is None


def test_stopping_abandons_open_questions() -> None:
    one = gathering(servers=(SERVER, OTHER))
    run(one, 0.0)
    one.stop()
    assert one.completes_now()
    assert one.handle_timeout(10.0) == []
