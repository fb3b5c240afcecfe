"""A lite agent under any checks of a full peer: it sends answers only, and follows what the peer nominates."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ice.config import IceConfig
from ice.description import Description
from ice.errors import FailureReason
from ice.lite_config import LiteConfig
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.message import MessageClass, parse
from tests.ice.builders import request
from tests.ice.stepper import B, Side

SETTLE = 1.0
LITE = IceConfig(lite=LiteConfig(enabled=True, settle_time=SETTLE))
SOURCES = [TransportAddress("192.0.2.1", port) for port in range(1, 5)]

checks = st.tuples(
    st.sampled_from(SOURCES), st.booleans(), st.integers(1, 4), st.sampled_from([0.0, 0.1, 0.9, 1.0, 5.0, 9.0])
)


@given(st.lists(checks, max_size=20))
@settings(max_examples=200, deadline=None)
def test_the_nominated_pair_is_the_best_of_a_burst_or_the_latest(
    script: list[tuple[TransportAddress, bool, int, float]],
) -> None:
    side = Side(Role.CONTROLLED, B, config=LITE)
    side.agent.set_remote_description(Description("peer", "p" * 22), 0.0)
    local = side.agent.local_description
    now = last = heard = 0.0
    rank: dict[TransportAddress, int] = {}
    expected: TransportAddress | None = None
    for number, (source, nominates, priority, pause) in enumerate(script):
        now += pause
        side.agent.handle_timeout(now)
        if expected is not None and now >= heard + LITE.consent_timeout:
            assert side.agent.failure_reason is FailureReason.CONSENT_EXPIRED
            return
        rank.setdefault(source, priority)  # A peer-reflexive candidate keeps what its first check said.
        extra = [(att.USE_CANDIDATE, True)] if nominates else []
        data = request(
            f"{local.ufrag}:peer",
            local.pwd,
            *extra,
            priority=priority,
            transaction_id=bytes(8) + number.to_bytes(4, "big"),
        )
        side.agent.receive_datagram(data, FiveTuple(B, source), now)
        if nominates and (
            expected is None or expected == source or rank[source] > rank[expected] or now >= last + SETTLE
        ):
            expected, last = source, now
        if source == expected:
            heard = now
        path = side.agent.selected_path
        assert (None if path is None else path.remote) == expected
        sent = []
        while (effect := side.agent.next_effect()) is not None:
            sent.append(parse(effect.data).message_class)
        assert sent == [MessageClass.SUCCESS]
        assert side.agent.is_valid_path(B, source)
