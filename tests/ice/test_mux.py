"""Which session a datagram on a shared port belongs to."""

from __future__ import annotations

import pytest

from ice.errors import IceError, MuxError
from ice.mux import Place
from ice.mux_config import MuxConfig
from ice.mux_stats import Drop
from stun.address import FiveTuple, TransportAddress
from stun.message import Message, MessageClass, Method
from tests.ice.builders import request
from tests.ice.mux_stage import HERE, OTHER, PEER, Member, Stage, answer, check, question, refusal, transaction

DATA = b"\x80data"
STUN_LIKE = b"\x00data that begins like STUN"


def test_a_check_goes_to_the_session_that_its_user_name_begins_with() -> None:
    stage = Stage()
    first, second = Member(stage, "first"), Member(stage, "second")
    assert first.hears(check("first"))
    assert second.hears(check("second"), OTHER)
    assert len(first.heard) == len(second.heard) == 1


def test_data_goes_where_a_check_from_the_same_address_has_authenticated() -> None:
    stage = Stage()
    first, second = Member(stage, "first"), Member(stage, "second")
    stage.arrive(check("first"), PEER)
    stage.arrive(check("second"), OTHER)
    for data in (DATA, STUN_LIKE, b""):
        assert first.hears(data, PEER)
        assert second.hears(data, OTHER)
    assert stage.routes.owner_of(FiveTuple(HERE, TransportAddress(*PEER))) is first.seat
    assert stage.routes.owner_of(FiveTuple(HERE, TransportAddress("198.51.100.9", 1))) is None


def test_a_check_that_does_not_authenticate_gets_no_route() -> None:
    stage = Stage()
    member = Member(stage, "first")
    member.trusts = False
    assert member.hears(check("first"))
    assert not member.hears(DATA)
    assert stage.routes.dropped == {Drop.DATA: 1}
    assert stage.routes.stats().addresses == 0


def test_what_belongs_to_nobody_is_dropped_and_counted() -> None:
    stage = Stage()
    Member(stage, "first")
    stage.arrive(DATA)
    stage.arrive(b"")
    stage.arrive(check("nobody"))
    stage.arrive(check("firs"))
    stage.arrive(question())
    stage.arrive(request("first", "p" * 22))
    stage.arrive(request(":peer", "p" * 22))
    stage.arrive(answer(question()))
    stage.arrive(Message(Method.BINDING, MessageClass.INDICATION, transaction()).serialize())
    stage.arrive(Message(Method.ALLOCATE, MessageClass.REQUEST, transaction()).serialize())
    assert stage.routes.dropped == {
        Drop.DATA: 2,
        Drop.UNKNOWN_UFRAG: 2,
        Drop.NO_USERNAME: 3,
        Drop.UNASKED: 2,
        Drop.OTHER_STUN: 1,
    }


def test_a_user_name_is_found_among_the_first_attributes_only() -> None:
    stage = Stage(max_attributes=3)
    member = Member(stage, "first")
    near, far = (
        bytearray(b"\x00\x01\x00\x00\x21\x12\xa4\x42" + transaction() + b"\x80\x99\x00\x01x\0\0\0" * count)
        for count in (2, 3)
    )
    username = b"\x00\x06\x00\x07first:p\0"
    assert member.hears(bytes(near + username))
    assert not member.hears(bytes(far + username))
    assert not member.hears(bytes(near + username[:-4])), "cut off"


def test_answers_go_to_who_asked_whatever_their_source() -> None:
    stage = Stage()
    first, second = Member(stage, "first"), Member(stage, "second")
    asked = [first.send(question()), second.send(question())]
    assert second.hears(answer(asked[1]))
    assert first.hears(answer(asked[0]))
    assert first.hears(refusal(asked[0])), "the session decides which answer counts"
    assert stage.routes.stats().addresses == 0, "a server's address is nobody's"
    assert not first.hears(DATA)


def test_an_answer_to_a_check_of_ours_makes_the_address_ours() -> None:
    stage = Stage()
    member = Member(stage, "first")
    asked = member.send(check("peer"))
    assert not member.hears(DATA)
    assert member.hears(answer(asked))
    assert member.hears(DATA)
    assert member.hears(answer(asked)), "also twice"


@pytest.mark.parametrize("reply", [refusal, None])
def test_no_other_answer_makes_an_address_ours(reply: object) -> None:
    stage = Stage()
    member = Member(stage, "first")
    asked = member.send(check("peer"))
    assert member.hears(refusal(asked) if reply else answer(asked), PEER if reply else OTHER)
    assert not member.hears(DATA, PEER)
    assert not member.hears(DATA, OTHER)


def test_an_idle_session_awaits_nothing_between_its_consent_checks() -> None:
    stage = Stage()
    member = Member(stage, "first")
    member.meet()
    for _ in range(100):
        stage.now += 5
        asked = member.send(check("peer"))
        assert member.hears(answer(asked))
    assert member.seat.awaited is None
    assert stage.routes.stats().awaited == 0
    assert stage.routes.stats().addresses == 1


def test_unanswered_requests_are_forgotten_by_age_and_by_number() -> None:
    stage = Stage(max_transactions=3, transaction_lifetime=40.0)
    member = Member(stage, "first")
    asked = []
    for _ in range(5):
        asked.append(member.send(question()))
        stage.now += 1
    assert [member.hears(answer(data)) for data in asked] == [False, False, True, True, True]
    member.send(asked[2])  # Again: it is the youngest now.
    member.send(question())
    assert member.hears(answer(asked[2]))
    assert not member.hears(answer(asked[3]))
    stage.now += 41
    member.send(question())
    assert stage.routes.stats().awaited == 1


def test_leaving_frees_everything() -> None:
    stage = Stage()
    member = Member(stage, "first")
    stage.routes.set_ufrags(member.seat, ["first", "restarted"])
    stage.arrive(check("first"), PEER)
    member.meet(OTHER)
    member.send(question())
    member.send(check("peer"), ("198.51.100.9", 1))
    stage.routes.leave(member.seat)
    assert stage.is_empty()
    for data in (DATA, check("first"), check("restarted"), answer(question())):
        assert not member.hears(data)
    member.send(answer(check("first")))  # A late word of a session that is gone.
    member.send(question())
    stage.routes.leave(member.seat)
    assert stage.is_empty()
    with pytest.raises(MuxError):
        stage.routes.attach(Place(member.seat, stage.port, print))
    with pytest.raises(MuxError):
        stage.routes.set_ufrags(member.seat, ["another"])
    Member(stage, "first")


def test_detaching_one_base_leaves_the_others() -> None:
    stage = Stage()
    second = stage.open(TransportAddress("2001:db8::1", 3478))
    member = Member(stage, "first", stage.port, second)
    remote6 = ("2001:db8::7", 9)
    assert member.hears(check("first"), PEER)
    assert member.hears(check("first"), remote6, second)
    asked4, asked6 = member.send(question()), member.send(question(), remote6, member.places[1])
    stage.routes.detach(member.places[0])
    assert not member.hears(DATA, PEER)
    assert member.hears(DATA, remote6, second)
    assert not member.hears(answer(asked4))
    assert member.hears(answer(asked6), remote6, second)
    assert not member.hears(check("first"), PEER), "no base there"
    with pytest.raises(MuxError):
        stage.routes.attach(Place(member.seat, second, print))


def test_answers_have_to_arrive_at_the_port_that_asked() -> None:
    stage = Stage()
    second = stage.open(TransportAddress("192.0.2.2", 3478))
    member = Member(stage, "first", stage.port, second)
    assert not member.hears(answer(member.send(question())), PEER, second)


def test_collisions_and_too_many_are_refused() -> None:
    stage = Stage(max_sessions=2, max_ufrags=2)
    first = Member(stage, "first")
    with pytest.raises(MuxError) as caught:
        Member(stage, "first")
    assert isinstance(caught.value, IceError)
    second = Member(stage, "second")
    with pytest.raises(MuxError):
        Member(stage, "third")
    with pytest.raises(MuxError):
        stage.routes.set_ufrags(second.seat, ["second", "first"])
    stage.routes.set_ufrags(second.seat, ["second", "second"])
    stage.routes.set_ufrags(second.seat, ["second", "more"])
    for none_or_too_many in ([], ["second", "more", "most"]):
        with pytest.raises(MuxError):
            stage.routes.set_ufrags(second.seat, none_or_too_many)
    assert stage.routes.stats().ufrags == 3
    stage.routes.leave(first.seat)
    Member(stage, "third")


def test_a_restart_adds_a_fragment_and_drops_the_old_one() -> None:
    stage = Stage()
    member = Member(stage, "old")
    stage.routes.set_ufrags(member.seat, ["old", "new"])
    assert member.hears(check("old"))
    assert member.hears(check("new"))
    stage.routes.set_ufrags(member.seat, ["new"])
    assert not member.hears(check("old"))
    assert member.hears(check("new"))
    assert stage.routes.stats().ufrags == 1


def test_a_peer_whose_address_changes_is_followed() -> None:
    stage = Stage()
    member = Member(stage, "first")
    stage.arrive(check("first"), PEER)
    assert member.hears(check("first"), OTHER)
    assert member.hears(DATA, OTHER)
    assert member.hears(DATA, PEER), "what was on its way still arrives"


def test_the_longest_silent_address_of_a_session_makes_room() -> None:
    stage = Stage(max_addresses=3)
    member, bystander = Member(stage, "first"), Member(stage, "second")
    bystander.meet(("203.0.113.1", 1))
    member.meet(PEER)
    for number in range(1, 20):
        stage.now += 1
        member.meet(PEER)
        stage.arrive(check("first"), ("198.51.100.9", number))
    assert len(member.seat.bindings) == 3
    assert member.hears(DATA, PEER)
    assert member.hears(DATA, ("198.51.100.9", 19))
    assert not member.hears(DATA, ("198.51.100.9", 17))
    assert bystander.hears(DATA, ("203.0.113.1", 1))


def test_an_address_that_moves_to_another_session_takes_its_data_along() -> None:
    stage = Stage()
    first, second = Member(stage, "first"), Member(stage, "second")
    stage.arrive(check("first"))
    first.meet()
    assert second.hears(check("second"))
    assert first.hears(DATA), "a check alone proves nothing: its source may be forged"
    second.meet()
    assert second.hears(DATA)
    first.meet()
    assert second.hears(DATA), "consent of the old session does not take it back"
    stage.now += 31
    first.meet()
    assert first.hears(DATA), "but the other one has been silent for too long now"


def test_without_confirmation_the_last_check_counts() -> None:
    stage = Stage()
    first, second = Member(stage, "first"), Member(stage, "second")
    stage.arrive(check("first"))
    stage.arrive(check("second"))
    assert second.hears(DATA)
    stage.arrive(check("first"))
    assert second.hears(DATA), "going on to check is no news"
    stage.now += 31
    stage.arrive(check("first"))
    assert first.hears(DATA)


def test_a_forged_check_takes_no_address_from_a_session_that_it_answered() -> None:
    stage = Stage()
    victim, attacker = Member(stage, "victim"), Member(stage, "attacker")
    attacker.meet(OTHER)
    stage.arrive(check("attacker"), PEER)  # Forged, before the victim's peer comes.
    assert victim.hears(check("victim"), PEER)
    victim.meet(PEER)
    for _ in range(50):
        stage.now += 5
        victim.meet(PEER)
        stage.arrive(check("attacker"), PEER)
        assert victim.hears(DATA, PEER)


def test_a_signalled_address_of_another_session_s_peer_is_not_taken() -> None:
    stage = Stage()
    victim, attacker = Member(stage, "victim"), Member(stage, "attacker")
    victim.meet(PEER)
    asked = attacker.send(check("peer"), PEER)  # The attacker's peer has named the victim's peer as a candidate.
    assert attacker.hears(refusal(asked), PEER)
    assert victim.hears(DATA, PEER)


def test_failed_checks_of_one_source_are_limited_and_harm_nobody_else() -> None:
    stage = Stage(failed_check_rate=1.0, failed_check_burst=5)
    member, distrusting = Member(stage, "first"), Member(stage, "second")
    distrusting.trusts = False
    member.meet(PEER)
    for number in range(100):
        stage.arrive(check("second"), (PEER[0], 5000 + number))
    assert len(distrusting.heard) == 5
    assert stage.routes.dropped == {Drop.TOO_MANY_FAILURES: 95}
    assert member.hears(check("first"), PEER), "an address that is known already goes on"
    assert not member.hears(check("first"), (PEER[0], 6000)), "another one has to wait"
    assert member.hears(check("first"), (OTHER[0], 6000))
    stage.now += 1
    assert member.hears(check("first"), (PEER[0], 6000))


def test_checks_that_authenticate_are_not_limited() -> None:
    stage = Stage(failed_check_rate=1.0, failed_check_burst=1)
    members = [Member(stage, f"member{number}") for number in range(100)]
    for number, member in enumerate(members):
        assert member.hears(check(member.ufrag), (PEER[0], 5000 + number))
    assert not stage.routes.dropped


def test_a_newcomer_s_check_is_short() -> None:
    stage = Stage(max_check=200)
    member = Member(stage, "first")
    padded = check("first") + bytes(200)
    assert not member.hears(padded)
    assert stage.routes.dropped == {Drop.TOO_LONG: 1}
    assert member.hears(check("first"))
    assert member.hears(padded)


@pytest.mark.parametrize("field", ["max_sessions", "max_addresses", "max_strangers", "stranger_timeout", "max_check"])
def test_limits_have_to_be_positive(field: str) -> None:
    with pytest.raises(ValueError, match=r"mux|positive"):
        MuxConfig(**{field: 0})
