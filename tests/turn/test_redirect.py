"""Which redirects are followed."""

from __future__ import annotations

import pytest

from stun.address import TransportAddress
from turn.config import RedirectPolicy, TurnClientConfig, TurnServerConfig
from turn.errors import TurnRedirectError
from turn.redirect import Redirects

SERVERS = [TransportAddress("203.0.113.1", port) for port in range(1, 9)]


def redirects(policy: RedirectPolicy = RedirectPolicy.SIGNED) -> Redirects:
    return Redirects(TurnServerConfig(url="turn:h", redirects=policy, client=TurnClientConfig(max_redirects=2)))


def to(*alternates: TransportAddress, signed: bool = True) -> TurnRedirectError:
    error = TurnRedirectError("elsewhere", code=300)
    error.alternates, error.is_signed = alternates, signed
    return error


@pytest.mark.parametrize(
    ("policy", "signed", "followed"),
    [
        (RedirectPolicy.NEVER, True, False),
        (RedirectPolicy.SIGNED, True, True),
        (RedirectPolicy.SIGNED, False, False),
        (RedirectPolicy.ANY, False, True),
    ],
)
def test_the_policy_decides(policy: RedirectPolicy, signed: bool, followed: bool) -> None:
    assert redirects(policy).follow(to(SERVERS[0], signed=signed), 0.0) == (SERVERS[0] if followed else None)


def test_a_server_that_was_asked_lately_is_passed_over() -> None:
    memory = redirects()
    memory.asked(SERVERS[0], 0.0)
    assert memory.follow(to(SERVERS[0]), 300.0) is None
    assert memory.follow(to(SERVERS[0], SERVERS[1]), 300.0) == SERVERS[1]
    assert memory.follow(to(SERVERS[0]), 300.1) == SERVERS[0]


def test_only_so_many_are_followed() -> None:
    memory = redirects()
    assert [memory.follow(to(server), 0.0) for server in SERVERS[:3]] == [*SERVERS[:2], None]
    assert memory.follow(to(), 0.0) is None
