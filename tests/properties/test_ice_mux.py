"""A mux under random sessions, roaming peers, forgers and strangers: nothing crosses, and every limit holds."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ice.errors import MuxError
from ice.mux_config import MuxConfig
from tests.ice.mux_stage import Member, Stage, answer, check, question
from tests.properties import targets_ice

LIMITS = {"max_sessions": 4, "max_addresses": 3, "max_transactions": 4, "max_sources": 3, "max_ufrags": 2}
HOSTS = [f"198.51.100.{number}" for number in range(1, 6)]
NAMES = [f"name{number}" for number in range(6)]
MARK = b"\x80"

names = st.sampled_from(NAMES)
remotes = st.tuples(st.sampled_from(HOSTS), st.integers(1, 3))


class MuxMachine(RuleBasedStateMachine):
    """Every remote address is one machine's; what that machine has answered to is known here independently."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(**LIMITS)
        self.members: dict[str, Member] = {}
        self.extra: dict[str, str] = {}
        self.said: dict[tuple[str, int], set[str]] = {}
        """The sessions that each address has given evidence to, or somebody in its name."""
        self.answered: dict[tuple[str, int], tuple[str, float]] = {}
        """The session that each address has answered last, of those that it answers at present."""

    # -- sessions --

    @rule(name=names)
    def join(self, name: str) -> None:
        taken = name in self.members or name in self.extra.values() or len(self.members) == LIMITS["max_sessions"]
        try:
            member = Member(self.stage, name)
        except MuxError:
            assert taken
        else:
            assert not taken
            self.members[name] = member

    @precondition(lambda self: self.members)
    @rule(data=st.data(), new=names)
    def restart(self, data: st.DataObject, new: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.members)))
        seat = self.members[name].seat
        known = new in self.members or new in self.extra.values()
        try:
            self.stage.routes.set_ufrags(seat, [name, new])
        except MuxError:
            assert known
            assert new not in (name, self.extra.get(name))
        else:
            assert not known or new in (name, self.extra.get(name))
            self.extra.pop(name, None)
            if new != name:
                self.extra[name] = new

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.members)))
        member = self.members.pop(name)
        self.extra.pop(name, None)
        self.stage.routes.leave(member.seat)
        for sessions in self.said.values():
            sessions.discard(name)
        self.answered = {remote: known for remote, known in self.answered.items() if known[0] != name}
        assert not member.seat.bindings
        assert member.seat.awaited is None

    # -- traffic --

    def _heard(self, send: object, *arguments: object) -> set[str]:
        before = {name: len(member.heard) for name, member in self.members.items()}
        send(*arguments)  # type: ignore[operator]
        return {name for name, member in self.members.items() if len(member.heard) > before[name]}

    @rule(name=names, remote=remotes, trusts=st.booleans())
    def check(self, name: str, remote: tuple[str, int], trusts: bool) -> None:
        """A check comes, perhaps with a forged source: it reaches its session or nobody."""
        owner = next((owner for owner, extra in self.extra.items() if extra == name), name)
        member = self.members.get(owner)
        if member is not None:
            member.trusts = trusts
        heard = self._heard(self.stage.arrive, check(name), remote)
        assert heard <= ({owner} if member is not None else set())
        if heard and trusts:
            self.said.setdefault(remote, set()).add(owner)

    @precondition(lambda self: self.members)
    @rule(data=st.data(), remote=remotes)
    def confirm(self, data: st.DataObject, remote: tuple[str, int]) -> None:
        """A session checks a peer, and the peer answers."""
        name = data.draw(st.sampled_from(sorted(self.members)))
        member = self.members[name]
        asked = member.send(check("peer"), remote)
        holder = self.answered.get(remote)
        is_first = member.seat.binding_at(self.stage.port, remote) is None or (
            member.seat.binding_at(self.stage.port, remote).confirmed_at is None  # type: ignore[union-attr]
        )
        assert self._heard(self.stage.arrive, answer(asked), remote) == {name}
        self.said.setdefault(remote, set()).add(name)
        if is_first or holder is None or holder[0] == name or self.stage.now - holder[1] > 30.0:
            self.answered[remote] = (name, self.stage.now)

    @precondition(lambda self: self.members)
    @rule(data=st.data(), server=remotes, is_right=st.booleans())
    def ask_a_server(self, data: st.DataObject, server: tuple[str, int], is_right: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.members)))
        asked = self.members[name].send(question(), server)
        other = ("203.0.113.99", 9)
        assert self._heard(self.stage.arrive, answer(asked), server if is_right else other) == {name}

    @rule(remote=remotes)
    def data(self, remote: tuple[str, int]) -> None:
        """Data reaches one session at most, one that the address has spoken to, and the one that it answered."""
        heard = self._heard(self.stage.arrive, MARK, remote)
        assert len(heard) <= 1
        assert heard <= self.said.get(remote, set())
        if (known := self.answered.get(remote)) is not None and self.stage.now - known[1] <= 30.0:
            member = self.members[known[0]]
            still_known = member.seat.binding_at(self.stage.port, remote) is not None  # Or it made room for others.
            assert not still_known or heard == {known[0]}

    @rule(remote=remotes, junk=st.binary(max_size=64))
    def junk(self, remote: tuple[str, int], junk: bytes) -> None:
        heard = self._heard(self.stage.arrive, junk, remote)
        assert heard <= self.said.get(remote, set())

    @rule(seconds=st.floats(0.0, 45.0))
    def wait(self, seconds: float) -> None:
        self.stage.now += seconds

    # -- limits --

    @invariant()
    def limits_hold(self) -> None:
        stats = self.stage.routes.stats()
        seats = [member.seat for member in self.members.values()]
        assert stats.sessions == len(seats) <= LIMITS["max_sessions"]
        assert stats.ufrags == sum(len(seat.ufrags) for seat in seats)
        assert all(len(seat.bindings) <= LIMITS["max_addresses"] for seat in seats)
        assert all(len(seat.awaited or ()) <= LIMITS["max_transactions"] for seat in seats)
        assert stats.awaited == sum(len(seat.awaited or ()) for seat in seats)
        assert stats.sources <= LIMITS["max_sources"]
        known = [binding for seat in seats for binding in seat.bindings]
        assert all(binding in known for binding in self.stage.port.routes.values())

    def teardown(self) -> None:
        for member in self.members.values():
            self.stage.routes.leave(member.seat)
        assert self.stage.is_empty()


TestMux = MuxMachine.TestCase


def test_the_limits_are_fields() -> None:
    MuxConfig(**LIMITS)  # type: ignore[arg-type]


def test_the_fuzz_target_takes_what_is_known_to_be_bad() -> None:
    for data in (
        b"",
        b"\0",
        check("first"),
        check("first")[:-9],
        question(),
        answer(question()),
        bytes(20),
        b"\0\1short",
    ):
        targets_ice.fuzz_ice_mux(data)
