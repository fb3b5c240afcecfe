"""The exchange of descriptions without anything below: what may be said when, and that two sides always end as one."""

from __future__ import annotations

import itertools
import random
from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ice import Description
from webrtc_bridge.config import SctpConfig
from webrtc_bridge.errors import SdpError
from webrtc_bridge.offer_answer import OfferAnswer, Taken, first_words
from webrtc_bridge.sdp import Fingerprint, SdpType, Setup, parse
from webrtc_bridge.states import SignalingState

PRINT = Fingerprint("sha-256", ":".join(["0F"] * 32))
NUMBERS = itertools.count(1)


def fresh(name: str) -> Description:
    number = next(NUMBERS)
    return Description(f"{name}{number:06}", f"{number:024}")


class Side:
    """One side: the exchange, and what an ICE session makes of it (the i-th of ours belongs to the i-th of theirs)."""

    def __init__(self, side: SdpType, local: Description | None = None) -> None:
        self.counters: Counter[str] = Counter()
        self.name = side.value[:2]
        self.knows_rule = True
        """Whether it gives up what it has offered in vain."""
        self.rolled_back = 0
        self.ours = [local or fresh(self.name)]
        self.theirs: list[str] = []
        self.room = OfferAnswer(
            first_words(side, self.ours[0], PRINT, SctpConfig(), random.Random(self.name)),
            self.counters,
            max_description=10_000,
        )

    @property
    def agreed(self) -> tuple[str, str]:
        """The last two descriptions that belong together, ours and theirs."""
        return self.ours[len(self.theirs) - 1].ufrag, self.theirs[-1]

    def offer(self, *, restart: bool) -> str:
        if restart and self.room.state is SignalingState.STABLE and len(self.ours) == len(self.theirs):
            self.ours.append(fresh(self.name))
        return self.room.offer(self.ours[-1], (), False)

    def roll_back(self) -> None:
        self.rolled_back += 1
        if self.knows_rule and len(self.ours) > len(self.theirs):
            self.ours.pop()

    def take_back(self) -> None:
        if self.room.state is SignalingState.HAVE_LOCAL_OFFER:
            self.room.take_back()
            self.roll_back()

    def answer(self) -> str:
        return self.room.answer(self.ours[-1], (), False)

    def take(self, text: str, kind: SdpType | None = None) -> Taken:
        taken = self.room.take(text, kind, lambda: True)
        if taken in (Taken.FIRST, Taken.RESTART):
            assert self.room.remote is not None
            if taken is Taken.RESTART and self.room.remote.type is SdpType.OFFER:
                self.roll_back()
            if len(self.ours) == len(self.theirs):
                self.ours.append(fresh(self.name))
            self.theirs.append(self.room.remote.ufrag)
        return taken


def connected() -> tuple[Side, Side]:
    offerer, answerer = Side(SdpType.OFFER), Side(SdpType.ANSWER)
    assert answerer.take(offerer.offer(restart=False)) is Taken.FIRST
    assert offerer.take(answerer.answer()) is Taken.FIRST
    return offerer, answerer


def test_what_a_caller_may_not_do() -> None:
    offerer, answerer = Side(SdpType.OFFER), Side(SdpType.ANSWER)
    with pytest.raises(RuntimeError, match="this side of the connection answers"):
        answerer.offer(restart=False)
    with pytest.raises(RuntimeError, match="needs an offer from the other side"):
        answerer.answer()
    with pytest.raises(RuntimeError, match="needs an offer of ours"):
        offerer.take("v=0")
    with pytest.raises(RuntimeError, match="said nothing yet"):
        _ = offerer.room.remote_ice
    answerer.take(offerer.offer(restart=False))
    with pytest.raises(RuntimeError, match="of the other side to be answered"):
        answerer.offer(restart=False)
    offerer.take(answerer.answer())
    with pytest.raises(RuntimeError, match="needs an offer from the other side"):
        offerer.answer()
    answerer.offer(restart=True)
    with pytest.raises(RuntimeError, match="of ours to be answered"):
        answerer.answer()


def test_states_and_roles_of_the_first_exchange() -> None:
    offerer, answerer = Side(SdpType.OFFER), Side(SdpType.ANSWER)
    assert (offerer.room.setup, answerer.room.setup) == (Setup.ACTPASS, Setup.ACTIVE)
    assert not offerer.room.is_made
    offer = offerer.offer(restart=False)
    assert offerer.room.state is SignalingState.HAVE_LOCAL_OFFER
    answerer.take(offer)
    assert answerer.room.state is SignalingState.HAVE_REMOTE_OFFER
    assert not answerer.room.may_offer
    offerer.take(answerer.answer())
    assert {side.room.state for side in (offerer, answerer)} == {SignalingState.STABLE}
    assert (offerer.room.setup, answerer.room.setup) == (Setup.PASSIVE, Setup.ACTIVE)
    assert offerer.room.is_made
    assert answerer.room.is_made


def test_the_version_grows_with_what_changes_and_not_otherwise() -> None:
    offerer, _ = connected()
    versions = [parse(offerer.offer(restart=False), SdpType.OFFER).session_version for _ in range(3)]
    offerer.room.take_back()
    versions.append(parse(offerer.offer(restart=True), SdpType.OFFER).session_version)
    assert versions == [0, 0, 0, 1]


def test_first_offers_that_cross_are_passed_over() -> None:
    one, other = Side(SdpType.OFFER), Side(SdpType.OFFER)
    one.offer(restart=False)
    assert one.take(other.offer(restart=False), SdpType.OFFER) is Taken.PASSED_OVER
    assert one.counters == {"offer that crossed ours": 1}


def test_an_answer_that_restarts_what_was_no_restart_is_refused() -> None:
    offerer, answerer = connected()
    answerer.take(offerer.offer(restart=False))
    answerer.ours.append(fresh("x"))
    answer = answerer.room._write(SdpType.ANSWER, answerer.ours[-1], (), False)
    with pytest.raises(SdpError, match="the offer does not"):
        offerer.take(answer)
    assert offerer.room.state is SignalingState.STABLE
    assert offerer.counters == {"refused description": 1}


def test_the_credentials_of_an_earlier_generation_do_not_come_again() -> None:
    offerer, answerer = connected()
    first = offerer.ours[0]
    answerer.take(offerer.offer(restart=True))
    offerer.take(answerer.answer())
    text = offerer.room._write(SdpType.OFFER, first, (), False)
    with pytest.raises(SdpError, match="of an earlier one"):
        answerer.take(text, SdpType.OFFER)
    assert answerer.room.state is SignalingState.STABLE


def test_an_answer_may_be_given_again_and_says_what_was_agreed() -> None:
    offerer, answerer = connected()
    answer = parse(answerer.answer(), SdpType.ANSWER)
    answerer.offer(restart=True)
    answerer.room.take_back()
    assert parse(answerer.answer(), SdpType.ANSWER).ufrag == answer.ufrag
    assert offerer.room.remote is not None
    assert answer.ufrag == offerer.room.remote.ufrag


@given(st.lists(st.tuples(st.sampled_from(["restart", "again", "deliver", "lose"]), st.booleans()), max_size=60))
def test_whatever_crosses_or_is_told_twice_two_honest_sides_end_as_one(steps: list[tuple[str, bool]]) -> None:
    sides = connected()
    ways: tuple[deque[tuple[SdpType, str]], ...] = (deque(), deque())  # to the offerer, to the answerer

    def tell(sender: int, *, restart: bool) -> None:
        if sides[sender].room.may_offer:
            ways[1 - sender].append((SdpType.OFFER, sides[sender].offer(restart=restart)))

    def deliver(reader: int) -> None:
        if not ways[reader]:
            return
        kind, text = ways[reader].popleft()
        taken = sides[reader].take(text, kind)  # an honest peer is never refused
        if sides[reader].room.state is SignalingState.HAVE_REMOTE_OFFER:
            assert taken is not Taken.PASSED_OVER
            ways[1 - reader].append((SdpType.ANSWER, sides[reader].answer()))

    for step, index in steps:
        if step == "restart" or (step == "again" and sides[index].room.state is SignalingState.HAVE_LOCAL_OFFER):
            tell(int(index), restart=True)
        elif step == "deliver":
            deliver(int(index))
        elif step == "lose" and ways[index] and ways[index][0][0] is SdpType.OFFER:
            ways[index].popleft()  # an answer has to arrive (RFC 8838 section 9), or nobody knows what it would answer
    for _ in range(10):  # nothing gets lost any more, and what waits for an answer is told again
        while any(ways):
            for reader in (0, 1):
                deliver(reader)
        for index, side in enumerate(sides):
            if side.room.state is SignalingState.HAVE_LOCAL_OFFER or len(side.ours) > len(side.theirs):
                tell(index, restart=True)
                break
    offerer, answerer = sides
    assert {side.room.state for side in sides} == {SignalingState.STABLE}
    assert offerer.theirs == [each.ufrag for each in answerer.ours][: len(offerer.theirs)]
    assert answerer.theirs == [each.ufrag for each in offerer.ours][: len(answerer.theirs)]
    assert len(offerer.theirs) == len(answerer.theirs)


def test_the_dtls_association_has_a_name_that_stays_and_that_a_peer_without_one_is_not_told_in_answers() -> None:
    # RFC 8842 section 5.2 to 5.5
    offerer, answerer = connected()
    names = [offerer.room._own.tls_id, answerer.room._own.tls_id]
    answerer.take(offerer.offer(restart=True))
    offerer.take(answerer.answer())
    assert [answerer.room.remote.tls_id, offerer.room.remote.tls_id] == names  # type: ignore[union-attr]
    assert None not in names
    assert names[0] != names[1]
    text = offerer.offer(restart=True)
    with pytest.raises(SdpError, match="another DTLS association"):
        answerer.take(text.replace(str(names[0]), "x" * 20))
    silent = Side(SdpType.ANSWER)
    silent.take(Side(SdpType.OFFER).offer(restart=False).replace("a=tls-id", "a=x-tls-id"))
    assert parse(silent.answer(), SdpType.ANSWER).tls_id is None
