"""Addresses that a router maps: candidates while it does (see also the tests of ``ice.portmap``)."""

from __future__ import annotations

import random

from ice.agent import Agent
from ice.candidate import Base
from ice.config import IceConfig
from ice.roles import Role
from stun.address import TransportAddress
from tests.ice.stepper import A

GATEWAY = "192.0.2.254"
MAPPED = TransportAddress("203.0.113.9", 4000)


def gathering() -> Agent:
    agent = Agent(IceConfig(), Role.CONTROLLING, rng=random.Random(1))
    agent.add_local_base(A, 0.0)
    agent.begin_gathering(0.0)
    return agent


def addresses(agent: Agent) -> list[object]:
    return [candidate.address for candidate in agent.local_candidates]


def test_a_mapped_address_is_a_candidate_until_the_router_maps_it_no_more() -> None:
    agent = gathering()
    agent.add_mapped_address(Base(A), MAPPED, GATEWAY, 1.0)
    assert addresses(agent) == [A, MAPPED]
    agent.remove_mapped_address(Base(A), MAPPED, 2.0)
    assert addresses(agent) == [A]


def test_a_router_that_cannot_make_up_its_mind_fills_nothing() -> None:
    agent = gathering()
    for step in range(100):
        agent.add_mapped_address(Base(A), MAPPED, GATEWAY, float(step))
        agent.remove_mapped_address(Base(A), MAPPED, step + 0.5)
    assert len(agent._withdrawn) == 1
    agent.add_mapped_address(Base(A), MAPPED, GATEWAY, 100.0)
    assert addresses(agent) == [A, MAPPED]
