"""Settings that would break a rule are refused."""

from __future__ import annotations

import pytest

from ice.life_config import FailoverConfig, UpgradeConfig


@pytest.mark.parametrize(
    "settings",
    [
        {"recheck_after": 0.1},
        {"backup_interval": 0.4},
        {"max_spares": -1},
        {"round_trip_ratio": 1.0},
        {"check_sends": 0},
    ],
)
def test_bad_upgrades(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        UpgradeConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"probe_interval": 0.2}, {"sample_interval": 0.0}, {"probes": 0}])
def test_bad_failovers(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        FailoverConfig(**settings)  # type: ignore[arg-type]
