"""The place of an agent: alone, or beside others that have part in what it begins."""

from __future__ import annotations

import random

from ice.component import Component, SharedComponent, SharedRooms, StreamCredentials
from ice.config import IceConfig
from ice.lite import LiteRoles
from ice.lite_config import LiteConfig
from ice.roles import Role

CONFIG = IceConfig()


def test_who_is_alone_begins_each_generation_with_something_new() -> None:
    alone = Component.alone(CONFIG, Role.CONTROLLED, random.Random(1))
    assert alone.number == 1
    assert alone.roles.role is Role.CONTROLLED
    first, second = alone.begin(), alone.begin()
    assert first[0].ufrag != second[0].ufrag
    assert first[1] is not second[1]


def test_components_of_a_stream_begin_the_same() -> None:
    rng = random.Random(1)
    shared = SharedRooms(CONFIG, Role.CONTROLLING, rng)
    credentials = StreamCredentials(CONFIG, rng)
    one, two = (SharedComponent(shared, credentials, number) for number in (1, 2))
    other = SharedComponent(shared, StreamCredentials(CONFIG, rng), 1)
    for _ in range(2):
        mine, same, others = one.begin(), two.begin(), other.begin()
        assert mine == same
        assert mine[0] is same[0] is credentials.latest
        assert mine[1] is same[1] is others[1]
        assert mine[0] != others[0]
    assert one.foundations is two.foundations is other.foundations
    assert one.roles is two.roles is other.roles


def test_a_lite_agent_has_the_roles_of_one() -> None:
    config = IceConfig(lite=LiteConfig(enabled=True))
    assert isinstance(Component.alone(config, Role.CONTROLLED, random.Random(1)).roles, LiteRoles)
