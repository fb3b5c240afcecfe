from __future__ import annotations

import pytest

from ice.candidate import TcpType
from ice.tcp_config import TcpConfig


def test_everything_is_offered_unless_told() -> None:
    assert TcpConfig().candidates == set(TcpType)
    assert TcpConfig().max_connecting == 5, "RFC 6544 section 12"


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_connecting": 0},
        {"max_connections": 0},
        {"max_incoming": 0},
        {"max_packet": 0},
        {"max_packet": 65_536},
        {"open_timeout": 0.0},
        {"check_timeout": 0.0},
        {"incoming_timeout": -1.0},
        {"opener_timeout": 0.0},
        {"accept_pause": 0.0},
        {"opener_ttl": 0},
        {"opener_ttl": 256},
        {"retry_least": 0.0},
        {"retry_least": 0.3},
        {"redial_first": 5.0},
        {"head_start": -0.1},
        {"unused_grace": -1.0},
        {"max_write_buffer": -1},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        TcpConfig(**wrong)  # type: ignore[arg-type]
