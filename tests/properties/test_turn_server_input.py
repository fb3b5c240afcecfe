"""The TURN server under bytes of any kind."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from stun.message import Message
from tests.properties import targets_turn_server as targets
from tests.properties.strategies_stun import messages

SETTINGS = st.sampled_from(
    [
        "realm",
        "listen",
        "udp",
        "relay",
        "limits",
        "allocations",
        "ports",
        "users",
        "x",
        "=",
        "[",
        "]",
        "\n",
        '"',
        "1",
        "-1",
    ]
)


@given(st.binary(max_size=200) | st.builds(Message.serialize, messages()))
@example(b"\x40\x00\x00\x00")
def test_any_bytes(data: bytes) -> None:
    targets.fuzz_turn_server(data)
    targets.fuzz_turn_signed_request(data)
    targets.fuzz_turn_ticket(data)


@given(st.text(max_size=60) | st.lists(SETTINGS, max_size=30).map(" ".join))
@example('realm = "x"\n[limits]\nallocations = true')
@example('realm = "x"\n[relay]\nports = [1, 2, 3]')
@example('realm = "x"\n[listen]\nudp = ["no"]')
def test_any_settings(text: str) -> None:
    targets.fuzz_turn_settings(text.encode("utf-8", "replace"))
