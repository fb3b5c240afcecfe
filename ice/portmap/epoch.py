"""Whether a gateway still has what it granted: the clocks that start anew when it lost its state."""

from __future__ import annotations

__all__ = ["NatPmpEpoch", "PcpEpoch"]


class PcpEpoch:
    """RFC 6887 section 8.5."""

    def __init__(self) -> None:
        self._before: tuple[int, int] | None = None

    def check(self, server: int, now: float) -> bool:
        """Take the epoch of a response; False when the gateway has lost its state since the last one."""
        client = int(now)
        before, self._before = self._before, (server, client)
        if before is None:
            return True
        server_delta, client_delta = server - before[0], client - before[1]
        if server_delta < -1:
            return False
        fast = client_delta + 2 < server_delta - server_delta // 16
        slow = server_delta + 2 < client_delta - client_delta // 16
        return not fast and not slow


class NatPmpEpoch:
    """RFC 6886 section 3.6: a clock that may be slow by an eighth and two seconds, and not more."""

    def __init__(self) -> None:
        self._before: tuple[int, float] | None = None

    def check(self, server: int, now: float) -> bool:
        """Take the epoch of a response; False when the gateway has lost its state since the last one."""
        before, self._before = self._before, (server, now)
        if before is None:
            return True
        return server >= before[0] + (now - before[1]) * 7 / 8 - 2
