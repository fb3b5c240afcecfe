"""Who an allocation counts for, and where channels lead, under random moves, held ports and lost connections."""

from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stun import attributes as att
from stun.address import FiveTuple
from stun.message import Method
from tests.turn.service.stage import PEER, TCP, UDP, Stage, StageClient
from turn.service.config import RelayLimits

LIMITS = RelayLimits(allocations_per_user=4, allocations_per_source=3)
PLACES = [
    (user, f"192.0.2.{host}", port, protocol)
    for user, port, protocol in (("alice", 1, UDP), ("alice", 2, TCP), ("bob", 3, UDP))
    for host in (1, 2, 3)
]


class Moves(RuleBasedStateMachine):
    """Every rule does one thing to the server; the invariants hold its tables against one another."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(limits=LIMITS, mobility=True, ports=(50000, 50019))
        self.clients = [
            StageClient(self.stage, user, host=host, port=port, protocol=p) for user, host, port, p in PLACES
        ]
        self.tickets: dict[str, list[bytes]] = {"alice": [], "bob": []}
        self.tokens: dict[str, list[bytes]] = {"alice": [], "bob": []}

    which = st.integers(0, len(PLACES) - 1)

    def keep(self, which: int, ticket: bytes | None, token: bytes | None) -> None:
        user = PLACES[which][0]
        self.tickets[user] += [ticket] if ticket else []
        self.tokens[user] += [token] if token else []

    @rule(which=which, pair=st.booleans(), mobile=st.booleans())
    def allocate(self, which: int, pair: bool, mobile: bool) -> None:
        pairs = [(att.EVEN_PORT, True)] if pair else []
        pairs += [(att.MOBILITY_TICKET, b"")] if mobile else []
        response = self.clients[which].allocate(*pairs)
        self.keep(which, response.get(att.MOBILITY_TICKET), response.get(att.RESERVATION_TOKEN))
        assert not pair or response.error is not None or att.RESERVATION_TOKEN in response

    @rule(which=which)
    def claim(self, which: int) -> None:
        tokens = self.tokens[PLACES[which][0]]
        if tokens:
            held = self.stage.server.ports_in_use
            response = self.clients[which].allocate((att.RESERVATION_TOKEN, tokens[-1]))
            assert self.stage.server.ports_in_use == held
            if response.error is None:
                tokens.pop()

    @rule(which=which)
    def move(self, which: int) -> None:
        tickets = self.tickets[PLACES[which][0]]
        if tickets:
            response = self.clients[which].refresh(None, (att.MOBILITY_TICKET, tickets[-1]))
            if response.error is None:
                tickets[-1] = response.get(att.MOBILITY_TICKET) or b""

    @rule(which=which, to=which)
    def bind_to_each_other(self, which: int, to: int) -> None:
        if self.clients[to].relayed:
            self.clients[which].bind(0x4000 + to, self.clients[to].relayed[0])

    @rule(which=which)
    def send(self, which: int) -> None:
        self.clients[which].send(b"x", PEER)

    @rule(which=which)
    def delete(self, which: int) -> None:
        self.clients[which].refresh(0)

    @rule(which=which)
    def lose_the_connection(self, which: int) -> None:
        path = self.clients[which].path
        if path.protocol is TCP:
            self.stage.server.path_closed(path, self.stage.now)
            self.stage.drain()
            self.stage.server.path_opened(path, self.stage.now)

    @rule(seconds=st.sampled_from([1.0, 31.0, 400.0, 700.0]))
    def wait(self, seconds: float) -> None:
        self.stage.wait(seconds)

    @invariant()
    def everything_counts_once_for_each_address_that_is_served(self) -> None:
        state = self.stage.server._state
        users, sources = Counter[str](), Counter[str]()
        for allocation in self.stage.server.allocations.values():
            users[allocation.identity] += 1
            sources[allocation.source] += 1
            if allocation.pending_path is not None and allocation.pending_path.remote.host != allocation.source:
                assert allocation.pending_source == allocation.pending_path.remote.host
                sources[allocation.pending_source] += 1
            else:
                assert allocation.pending_source is None
            assert allocation.is_detached or allocation.path.remote.host == allocation.source
        for reservation in self.stage.server._allocate.opener._reservations.values():
            users[reservation.identity] += 1
            sources[reservation.source] += 1
        assert dict(state.users._counts) == dict(users)
        assert dict(state.sources._counts) == dict(sources)
        assert all(count <= LIMITS.allocations_per_user for count in users.values())
        assert all(count <= LIMITS.allocations_per_source for count in sources.values())
        assert len(self.stage.open) == self.stage.server.ports_in_use

    @invariant()
    def channels_lead_to_living_relays_only(self) -> None:
        table = self.stage.server._state.allocations
        leading = set()
        for allocation in table.by_number.values():
            for number, channel in allocation.channels.items():
                assert channel.leads_to is table.advertised.get((channel.peer, UDP))
                if channel.leads_to is not None:
                    leading.add((allocation.number, number))
        followed = [relay.followers or () for relay in table.by_relay.values()]
        assert leading == {(allocation.number, number) for found in followed for allocation, number in found}

    @invariant()
    def every_path_leads_to_its_allocation(self) -> None:
        table = self.stage.server._state.allocations
        expected: dict[FiveTuple, int] = {}
        for allocation in table.by_number.values():
            for path in (allocation.path, allocation.pending_path):
                if path is not None and path.remote.port:
                    expected[path] = allocation.number
            assert all((relay.allocation is None) == allocation.is_detached for relay in allocation.relays.values())
        found = {
            FiveTuple(local, remote, protocol): allocation.number  # type: ignore[arg-type]
            for (local, protocol), door in table._doors.items()
            for remote, allocation in door.items()
        }
        assert found == expected

    def teardown(self) -> None:
        self.stage.wait(5000)
        assert not self.stage.open
        assert self.stage.server.ports_in_use == 0


TestMoves = Moves.TestCase


def test_the_rules_do_reach_what_they_are_for() -> None:
    machine = Moves()
    machine.allocate(0, pair=True, mobile=True)
    machine.move(1)
    assert next(iter(machine.stage.server.allocations.values())).pending_source == "192.0.2.2"
    machine.claim(2)
    assert len(machine.stage.server.allocations) == 2
    machine.bind_to_each_other(2, 0)
    machine.send(1)
    assert machine.stage.server.stats.moved == 1
    machine.delete(1)
    assert machine.clients[2].code(Method.REFRESH) == 0
    machine.everything_counts_once_for_each_address_that_is_served()
    machine.channels_lead_to_living_relays_only()
    machine.every_path_leads_to_its_allocation()
