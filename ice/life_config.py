"""Settings of what happens to a session after it has a path: moving to a better one, and off a dead one."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FailoverConfig", "RoamingConfig", "UpgradeConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class UpgradeConfig:
    """How a session that has a path looks for a better one. Times are in seconds."""

    enabled: bool = True
    """Whether it looks. If not, a session stays on its pair as RFC 8445 section 8.1.2 says, and so it does without
    backups."""
    renomination: bool = True
    """Whether the ice-option ``renomination`` is offered, with which the controlling side may choose another pair at
    any time (draft-thatcher-ice-renomination). Where both sides offer it, the first check of the best pair nominates it
    already, and two hosts connect in one round trip; else nomination is regular (RFC 8445 section 8.1.1)."""
    max_spares: int = 16
    """The most pairs kept beside the selected one."""
    backups: int = 2
    """How many of them are kept although they are no better: the session fails over to these."""
    recheck_after: float = 2.0
    """When a spare pair is checked for the first time, and again after it has failed once; the double after each
    further failure."""
    recheck_at_most: float = 60.0
    """The longest time between two checks of a pair that does not answer."""
    rechecks: int = 12
    """After so many failures in a row a spare pair is given up."""
    backup_interval: float = 15.0
    """The time between two checks of a spare pair that answers; short enough to keep a NAT's binding (RFC 4787 REQ-5
    has it last for two minutes, many last for thirty seconds)."""
    round_trip_ratio: float = 0.7
    """A pair of the same kind takes over when its round trip is shorter than this part of the selected one's,"""
    round_trip_gain: float = 0.02
    """and shorter by so many seconds,"""
    round_trip_samples: int = 3
    """and that so many times in a row."""
    check_sends: int = 2
    """How often the check of a spare pair is sent; the check that nominates one, or the first pair where that can be
    done again, once more."""
    check_final_wait: int = 4
    """How many initial timeouts the last of these sends is given (RFC 8489 section 6.2.1 has 16 where there is no path
    yet)."""
    peer_patience: float = 5.0
    """How long the controlled side waits for the other one to move to a better pair before it asks for a restart."""
    restart_after: float = 10.0
    """The least time between two requests for an ICE restart; the double after each."""
    max_restarts: int = 5
    """How often a session asks for an ICE restart of itself, until it has been on a good path for ``restart_after``."""

    def __post_init__(self) -> None:
        times = (self.recheck_after, self.recheck_at_most, self.backup_interval, self.restart_after)
        if min(times) < 0.5:
            raise ValueError("the times of an upgrade must not be under 500 ms (RFC 8445 section 14.3)")
        if min(self.check_sends, self.check_final_wait) < 1:
            raise ValueError("check_sends and check_final_wait must be positive")
        if min(self.max_spares, self.backups, self.rechecks, self.max_restarts, self.round_trip_samples) < 0:
            raise ValueError("limits must not be negative")
        if not 0.0 < self.round_trip_ratio < 1.0:
            raise ValueError("round_trip_ratio must be between 0 and 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class FailoverConfig:
    """How a session notices that its path is dead before consent ends. Times are in seconds."""

    enabled: bool = True
    """Whether silence under load is looked into. If not, a path is dead when consent says so."""
    sample_interval: float = 1.0
    """How often the counters of data are looked at while data is sent."""
    silence_after: float = 3.0
    """How long nothing is heard of a peer that is being sent to before its path is probed."""
    probes: int = 4
    """How many probes go unanswered before the path is taken for dead."""
    probe_interval: float = 0.5
    """The time between two of them (RFC 8445 section 14.3: no timeout under 500 ms)."""

    def __post_init__(self) -> None:
        if self.probe_interval < 0.5:
            raise ValueError("probe_interval must not be under 500 ms (RFC 8445 section 14.3)")
        if self.sample_interval <= 0 or self.silence_after <= 0 or self.probes < 1:
            raise ValueError("sample_interval, silence_after and probes must be positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class RoamingConfig:
    """How a session follows the addresses of its machine (continual gathering). Times are in seconds."""

    enabled: bool = True
    """Whether addresses that appear become bases, and those that vanish stop being ones, after the first gathering."""
    watch: bool = True
    """Whether the system is asked to tell of changes, where it can (Linux); if not, or elsewhere, it is polled."""
    poll_interval: float = 10.0
    """How often interfaces are listed where the system does not tell."""
    settle_time: float = 0.3
    """How long after a change they are listed: changes come in crowds."""
    attempts: int = 10
    """How often an address that cannot be bound is tried."""

    def __post_init__(self) -> None:
        if self.poll_interval <= 0 or self.settle_time < 0.05 or self.attempts < 1:
            raise ValueError("poll_interval and attempts must be positive, settle_time not under 50 ms")
