"""Restarts whose offers and answers get lost, late, doubled or out of order: a later restart always works."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webrtc_bridge.test_offer_answer import connected
from webrtc_bridge.offer_answer import Taken
from webrtc_bridge.sdp import SdpType
from webrtc_bridge.states import SignalingState

Message = tuple[SdpType, str]


class Wires:
    """Two connected sides and what is under way to each: the test says what arrives, and in which order."""

    def __init__(self) -> None:
        self.sides = connected()
        self.to: tuple[list[Message], list[Message]] = ([], [])

    def offer(self, sender: int) -> None:
        """Restart, or tell again the offer that waits for its answer."""
        if self.sides[sender].room.may_offer:
            self.to[1 - sender].append((SdpType.OFFER, self.sides[sender].offer(restart=True)))

    def deliver(self, reader: int, index: int = 0, *, keep: bool = False) -> None:
        """Have one of the messages arrive; ``keep`` has it come again later."""
        side = self.sides[reader]
        kind, text = self.to[reader][index] if keep else self.to[reader].pop(index)
        taken = side.take(text, kind)  # An honest peer is never refused.
        if side.room.state is SignalingState.HAVE_REMOTE_OFFER:
            assert taken is not Taken.PASSED_OVER
            self.to[1 - reader].append((SdpType.ANSWER, side.answer()))

    def deliver_all(self) -> None:
        while any(self.to):
            for reader in (0, 1):
                if self.to[reader]:
                    self.deliver(reader)

    def settle(self) -> None:
        """Nothing gets lost any more, offers are told again, and what nobody answers is taken back."""
        for _ in range(4):
            self.deliver_all()
            for sender, side in enumerate(self.sides):
                if side.room.state is SignalingState.HAVE_LOCAL_OFFER:
                    self.offer(sender)
        self.deliver_all()
        for side in self.sides:
            side.take_back()

    @property
    def agree(self) -> bool:
        """Whether both mean the same two descriptions, and no offer is open."""
        one, other = self.sides
        is_one = (one.agreed, other.agreed) == (other.agreed[::-1], one.agreed[::-1])
        return is_one and {side.room.state for side in self.sides} == {SignalingState.STABLE}

    def later_restart_works(self, sender: int) -> bool:
        """Restart once more when nothing is under way; return whether both agree then, on what is new to the sender."""
        before = self.sides[sender].agreed
        self.offer(sender)
        self.settle()
        return self.agree and set(before).isdisjoint(self.sides[sender].agreed)


@pytest.mark.parametrize("first", [0, 1], ids=["the offerer", "the answerer"])
@pytest.mark.parametrize("later", [0, 1])
def test_an_answer_is_lost_and_its_sender_restarts(first: int, later: int) -> None:
    wires = Wires()
    wires.offer(first)
    wires.deliver(1 - first)
    wires.to[first].clear()  # the answer
    wires.offer(1 - first)
    wires.settle()
    assert wires.agree
    assert wires.later_restart_works(later)


@pytest.mark.parametrize("first", [0, 1], ids=["the offerer", "the answerer"])
@pytest.mark.parametrize("later", [0, 1])
def test_an_answer_is_lost_its_offer_taken_back_and_then_its_sender_restarts(first: int, later: int) -> None:
    wires = Wires()
    wires.offer(first)
    wires.deliver(1 - first)
    wires.to[first].clear()
    wires.sides[first].take_back()
    wires.offer(1 - first)
    wires.settle()
    assert wires.agree
    assert wires.later_restart_works(later)


@pytest.mark.parametrize("later", [0, 1])
def test_a_peer_that_does_not_give_up_what_it_has_offered_is_offered_something_else_the_next_time(
    later: int,
) -> None:
    wires = Wires()
    one, other = wires.sides
    other.knows_rule = False
    wires.offer(1)
    wires.deliver(0)
    wires.to[1].clear()
    wires.offer(0)
    wires.settle()
    assert not wires.agree
    assert one.counters["answer without the restart"] > 0
    assert wires.later_restart_works(later)


def test_an_answer_that_a_later_offer_has_overtaken_is_passed_over() -> None:
    wires = Wires()
    _, other = wires.sides
    wires.offer(1)
    wires.deliver(0)
    late = wires.to[1].pop()
    wires.offer(0)
    wires.deliver(1)  # It takes its own offer back for this one.
    wires.deliver(0)
    assert wires.agree
    wires.offer(1)
    assert other.take(late[1], late[0]) is Taken.PASSED_OVER
    assert other.counters["description that a later one has overtaken"] == 1
    wires.settle()
    assert wires.agree


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["restart", "restart", "deliver", "deliver", "deliver", "double", "lose", "give up"]),
        st.integers(0, 1),
        st.integers(0, 3),
    ),
    max_size=40,
)


@given(STEPS, st.integers(0, 1))
def test_whatever_is_lost_late_doubled_or_out_of_order_a_later_restart_works(
    steps: list[tuple[str, int, int]], later: int
) -> None:
    wires = Wires()
    for step, side, number in steps:
        waiting = wires.to[side]
        if step == "restart":
            wires.offer(side)
        elif step == "give up":
            wires.sides[side].take_back()
        elif not waiting:
            continue
        elif step == "lose":
            waiting.pop(number % len(waiting))
        else:
            wires.deliver(side, number % len(waiting), keep=step == "double")
    wires.settle()
    assert {side.room.state for side in wires.sides} == {SignalingState.STABLE}
    assert wires.later_restart_works(later)
