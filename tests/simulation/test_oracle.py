"""The oracle against the laboratory's table, and against the simulated NATs themselves."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from stun.address import TransportAddress, TransportProtocol
from tests.simulation import (
    Filtering,
    Host,
    Mapping,
    NatBehaviour,
    NatClass,
    Outcome,
    PortAllocation,
    Reach,
    World,
    best_outcome,
    combine,
    direct_path_possible,
    nat_class,
    reach,
)

UDP, TCP = TransportProtocol.UDP, TransportProtocol.TCP

LABORATORY = {
    "open": (None, "D D D D D N"),
    "EIM/APDF": (NatBehaviour.port_restricted_cone(), "D D B B P N"),
    "ADM/APDF": (NatBehaviour.address_dependent(), "D B BB BB BB N"),
    "APDM": (NatBehaviour.symmetric(), "D B BB X X N"),
    "APDM sequential": (NatBehaviour.symmetric(PortAllocation.SEQUENTIAL), "D P BB X P N"),
    "blocked": (NatBehaviour.blocks_udp(), "N N N N N N"),
}
LETTERS = dict(zip(("D", "P", "B", "BB", "X", "N"), Reach, strict=True))
ROWS = [
    (a, b, LETTERS[cell])
    for a, row in LABORATORY.values()
    for (b, _), cell in zip(LABORATORY.values(), row.split(), strict=True)
]


@pytest.mark.parametrize(("a", "b", "expected"), ROWS)
def test_the_laboratory_table(a: NatBehaviour | None, b: NatBehaviour | None, expected: Reach) -> None:
    assert reach(a, b) is expected
    assert direct_path_possible(a, b) is (expected is Reach.DIRECT)


def test_presets_are_in_the_row_where_they_belong() -> None:
    assert nat_class(NatBehaviour.full_cone()) is NatClass.OPEN
    assert nat_class(NatBehaviour.restricted_cone()) is NatClass.OPEN
    assert nat_class(NatBehaviour.linux_masquerade()) is NatClass.PUNCHABLE
    assert nat_class(NatBehaviour.linux_masquerade_random()) is NatClass.RANDOM


def test_nested_nats_count_as_the_worst_of_them() -> None:
    double = combine([NatBehaviour.port_restricted_cone(), NatBehaviour.full_cone()])
    assert nat_class(double) is NatClass.PUNCHABLE
    assert nat_class(combine([NatBehaviour.full_cone(), NatBehaviour.symmetric()])) is NatClass.RANDOM
    assert nat_class(combine([NatBehaviour.full_cone(), NatBehaviour.blocks_udp()])) is NatClass.BLOCKED
    assert combine([]) is None


class Puncher:
    """Plain simultaneous punching in a few lines: asks where it is seen, tries what it hears of, answers."""

    def __init__(self, host: Host, server: TransportAddress) -> None:
        self.seen_at: TransportAddress | None = None
        self.direct = False
        self._targets: set[TransportAddress] = set()
        self.socket = host.bind(TransportAddress(host.addresses[0], 5000), self._heard)
        self.socket.send(b"where", server)

    def _heard(self, data: bytes, remote: tuple[str, int]) -> None:
        source = TransportAddress(*remote)
        kind, _, rest = data.partition(b" ")
        if kind == b"seen":
            host, port = rest.decode().split()
            self.seen_at = TransportAddress(host, int(port))
        elif kind == b"check":
            self.socket.send(b"answer " + rest, source)
            if len(self._targets) < 50:
                self._targets.add(source)
        elif kind == b"answer" and rest == str(source).encode():
            self.direct = True  # From where this very question went, not from elsewhere (RFC 8445 section 7.2.5.2.1).

    def peer_at(self, remote: TransportAddress) -> None:
        self._targets.add(remote)

    def try_all(self) -> None:
        for target in sorted(self._targets):
            self.socket.send(f"check {target}".encode(), target)


def punch(a: NatBehaviour | None, b: NatBehaviour | None) -> bool:
    """Play one pair; whether both sides had an answer from where they had asked."""
    world = World(11)

    def answer(data: bytes, remote: tuple[str, int]) -> None:
        server.send(f"seen {remote[0]} {remote[1]}".encode(), remote)

    server = world.host("server", world.internet, "203.0.113.1").bind(TransportAddress("203.0.113.1", 3478), answer)
    punchers = []
    for index, behaviour in enumerate((a, b), start=1):
        if behaviour is None:
            host = world.host(f"h{index}", world.internet, f"198.51.100.{index}")
        else:
            router = world.nat(behaviour, f"198.51.100.{index}")
            host = world.host(f"h{index}", router.inside, f"192.168.{index}.2")
        punchers.append(Puncher(host, server.local))
    world.run()
    first, second = punchers
    if first.seen_at is None or second.seen_at is None:
        return False
    first.peer_at(second.seen_at)
    second.peer_at(first.seen_at)
    for _ in range(8):
        for puncher in punchers:
            puncher.try_all()
        world.run()
    return first.direct and second.direct


EVERY_NAT = [
    NatBehaviour(mapping=mapping, filtering=filtering, allocation=PortAllocation.RANDOM)
    for mapping, filtering in itertools.product(Mapping, Filtering)
]

EVERY_PAIR = list(
    itertools.combinations_with_replacement(
        [None, *EVERY_NAT, NatBehaviour.linux_masquerade(), NatBehaviour.blocks_udp()], 2
    )
)


@pytest.mark.parametrize(
    ("a", "b"),
    EVERY_PAIR,
    ids=lambda nat: "open" if nat is None else f"{nat.mapping:d}{nat.filtering:d}{'b' if nat.udp_blocked else ''}",
)
def test_the_simulated_nats_do_what_the_oracle_says(a: NatBehaviour | None, b: NatBehaviour | None) -> None:
    assert punch(a, b) is direct_path_possible(a, b)
    assert punch(b, a) is direct_path_possible(b, a)


PLAIN, RANDOM, BLOCKED = (
    NatBehaviour.linux_masquerade(),
    NatBehaviour.linux_masquerade_random(),
    replace(NatBehaviour.linux_masquerade(), udp_blocked=True),
)


@pytest.mark.parametrize(
    ("a", "b", "udp", "tcp"),
    [
        ([], [], Outcome.DIRECT, Outcome.DIRECT),
        ([], [RANDOM], Outcome.DIRECT, Outcome.DIRECT),
        ([], [BLOCKED], Outcome.NONE, Outcome.DIRECT),
        ([PLAIN], [PLAIN], Outcome.PUNCHED, Outcome.PUNCHED),
        ([PLAIN, PLAIN], [PLAIN], Outcome.PUNCHED, Outcome.PUNCHED),
        ([PLAIN], [RANDOM], Outcome.NONE, Outcome.NONE),
        ([BLOCKED], [PLAIN], Outcome.NONE, Outcome.PUNCHED),
        ([BLOCKED], [RANDOM], Outcome.NONE, Outcome.NONE),
    ],
)
def test_the_best_outcome(a: list[NatBehaviour], b: list[NatBehaviour], udp: Outcome, tcp: Outcome) -> None:
    order = list(Outcome)
    for first, second in ((a, b), (b, a)):
        assert best_outcome(first, second, {UDP}, relay=False) is udp
        assert best_outcome(first, second, {TCP}, relay=False) is tcp
        assert best_outcome(first, second, {UDP, TCP}, relay=False) is min(udp, tcp, key=order.index)
        assert best_outcome(first, second, {UDP}, relay=True) is min(udp, Outcome.RELAYED, key=order.index)
        assert best_outcome(first, second, (), relay=True) is Outcome.RELAYED
