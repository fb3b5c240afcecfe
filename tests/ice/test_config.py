from __future__ import annotations

import pytest

from ice.config import IceConfig, IceTransportPolicy


@pytest.mark.parametrize(
    "settings",
    [
        {"ta": 0.004},
        {"triggered_ta": 0.001},
        {"rto": 0.4},
        {"max_sends": 0},
        {"checking_timeout": 39.0},
        {"consent_interval": 4.9},
        {"consent_tick": -0.1},
        {"consent_tick": 1.1},
        {"disconnected_after": 31.0},
        {"keepalive_interval": 14.0},
        {"max_generations": 2},
        {"ufrag_length": 3},
        {"pwd_length": 21},
        {"max_pairs": 0},
        {"nomination_patience": -1.0},
        {"excluded_networks": ["172.17.0.0/99"]},
    ],
)
def test_what_the_rfcs_forbid_cannot_be_set(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        IceConfig(**settings)  # type: ignore[arg-type]


def test_the_defaults_are_those_of_the_rfcs() -> None:
    config = IceConfig()
    assert (config.ta, config.rto, config.max_sends, config.final_wait) == (0.05, 0.5, 7, 16)
    assert (config.pac_timeout, config.consent_interval, config.consent_timeout) == (39.5, 5.0, 30.0)
    assert (config.max_pairs, config.keepalive_interval) == (100, 15.0)
    assert config.transport_policy is IceTransportPolicy.ALL
    assert not config.include_loopback


def test_presets_and_copies() -> None:
    assert IceConfig.for_loopback().include_loopback
    assert IceConfig().with_servers("stun:stun.example.org", "192.0.2.1:99").stun_servers == (
        "stun:stun.example.org",
        "192.0.2.1:99",
    )
