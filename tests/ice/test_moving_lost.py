"""Moves whose answers are lost: the peer may have followed, and the sides find each other again."""

from __future__ import annotations

from ice.candidate import TcpType
from ice.life_config import UpgradeConfig
from stun import attributes as att
from stun.address import FiveTuple
from stun.message import MessageClass, parse
from tests.ice.stepper import A, B
from tests.ice.tcp_trip import is_connected, lose_connections, two_hosts
from tests.ice.test_moving import RELAY, Stage
from tests.ice.trip import connect
from tests.simulation.world import World


def lose_answers_to_nominations(stage: Stage) -> list[int]:
    """The direct path opens, but nominations are not answered there; return their numbers as they are sent."""
    numbers: list[int] = []
    nominations: set[bytes] = set()
    stage.direct = True

    def passes(data: bytes, path: FiveTuple) -> bool:
        message = parse(data)
        number = message.get(att.NOMINATION)
        if number is not None and B in path:
            nominations.add(message.transaction_id)
            numbers.append(number)
        is_answer = message.message_class is MessageClass.SUCCESS
        return stage._passes(data, path) and not (is_answer and message.transaction_id in nominations)

    stage.wire.passes = passes
    return numbers


def test_a_move_whose_answer_was_lost_is_taken_back_by_a_later_nomination() -> None:
    stage = Stage()
    stage.run(3.0)
    assert stage.agrees
    numbers = lose_answers_to_nominations(stage)
    stage.run(6.0)
    assert stage.b.agent.selected_path == FiveTuple(B, A)  # It has followed, and we do not know.
    assert stage.path == FiveTuple(A, RELAY)
    assert numbers == [3, 3, 3]
    stage.direct = False
    stage.run(12.0)
    assert stage.agrees
    assert stage.path == FiveTuple(A, RELAY)


def test_no_two_nominations_have_one_number() -> None:
    stage = Stage()
    stage.run(3.0)
    numbers = lose_answers_to_nominations(stage)
    stage.run(40.0)
    assert sorted(set(numbers)) == sorted(set(numbers), key=numbers.index)
    assert all(numbers.count(number) <= UpgradeConfig().check_sends + 1 for number in set(numbers))
    assert len(set(numbers)) > 1


def test_over_a_lost_connection_it_waits_until_there_is_another() -> None:
    world = World()
    a, b = two_hosts(world, (TcpType.ACTIVE,), (TcpType.PASSIVE,))
    connect(a, b)
    moving = a.machine._generations.current.checking.moving
    number = moving.take_number()  # As by a nomination whose answer was lost.
    lose_connections(a, b)
    world.run(until=world.now + 20.0)
    assert is_connected(a, b)
    assert moving.attempt is None
    assert moving.number > number
