"""The numbers of a session on sockets (names after the W3C's RTCTransportStats)."""

from __future__ import annotations

from dataclasses import dataclass

from ice.aio.inbox import Inbox
from ice.stats import AgentStats

__all__ = ["SessionStats", "Traffic"]


class Traffic:
    """Counters of sending and discarding; plain attributes, because it is the hot path."""

    __slots__ = ("bytes_sent", "discarded", "packets_sent", "send_failures")

    def __init__(self) -> None:
        self.packets_sent = 0
        self.bytes_sent = 0
        self.send_failures = 0
        self.discarded = 0


@dataclass(frozen=True, slots=True)
class SessionStats:
    """One session at one moment."""

    packets_sent: int
    """Application datagrams that the network took."""
    bytes_sent: int
    """Their payload bytes."""
    packets_received: int
    """Application datagrams that came from the peer."""
    bytes_received: int
    """Their payload bytes."""
    send_failures: int
    """Application datagrams that the network did not take; they are lost."""
    discarded: int
    """Datagrams that were empty or came from somewhere that no check has proven to be the peer."""
    overflowed: int
    """Datagrams of the peer that were lost because the application did not receive fast enough."""
    queued: int
    """Datagrams that wait for the application."""
    selected_pair_changes: int
    """How often a pair was selected."""
    agent: AgentStats
    """State, role, candidate pairs."""

    @classmethod
    def of(cls, traffic: Traffic, inbox: Inbox, selections: int, agent: AgentStats) -> SessionStats:
        """Return a picture of now."""
        return cls(
            packets_sent=traffic.packets_sent,
            bytes_sent=traffic.bytes_sent,
            packets_received=inbox.packets,
            bytes_received=inbox.bytes,
            send_failures=traffic.send_failures,
            discarded=traffic.discarded,
            overflowed=inbox.dropped,
            queued=len(inbox),
            selected_pair_changes=selections,
            agent=agent,
        )
