"""Peers' connections through TCP allocations (RFC 6062): relayed candidates over TCP (RFC 6544 section 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ice.candidate import Base
from ice.relay import ACTIVE_PORT, Relay
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.lazy_queue import LazyQueue
from turn.errors import TurnError
from turn.events import ConnectionAttempted, PeerConnected, PeerConnectFailed, TurnEvent

__all__ = ["OpenPeerConnection", "RelayedTcp"]


@dataclass(frozen=True, slots=True)
class OpenPeerConnection:
    """Effect: open a connection to a relay's server and bind it to a peer's (RFC 6062 section 4.3).

    Answer with ``path_opened`` or ``path_failed`` of the agent, for ``path``.
    """

    relay: Relay
    path: FiveTuple
    connection_id: int


class RelayedTcp:
    """What TCP allocations do for TCP pairs: connect to a peer, and take the connections of peers."""

    __slots__ = ("_drain", "_tell", "failed")

    def __init__(self, drain: Callable[[Relay, float], None], tell: Callable[[OpenPeerConnection], None]) -> None:
        self._drain = drain
        self._tell = tell
        self.failed: LazyQueue[tuple[FiveTuple, TurnError]] = LazyQueue()
        """Paths that the server could not open."""

    def connect(self, relay: Relay, path: FiveTuple, now: float) -> None:
        """Have the server of ``relay`` connect to the peer of ``path``."""
        assert relay.client is not None
        try:
            relay.client.connect_peer(path.remote, now)
        except ValueError as error:  # The allocation has just ended.
            self.failed.append((path, TurnError(str(error), server=relay.name)))
        self._drain(relay, now)

    def on_event(self, relay: Relay, event: TurnEvent) -> None:
        """Take an event of the client of ``relay``; others than those about connections are none of ours."""
        match event:
            case PeerConnected(peer, number):
                if (path := _path(relay, peer, is_active=True)) is not None:
                    self._tell(OpenPeerConnection(relay, path, number))
            case PeerConnectFailed(peer, error):
                if (path := _path(relay, peer, is_active=True)) is not None:
                    self.failed.append((path, error))
            case ConnectionAttempted(peer, number):
                if (path := _path(relay, peer, is_active=False)) is not None:
                    self._tell(OpenPeerConnection(relay, path, number))
            case _:
                pass  # Channels that fail go on in indications.


def _path(relay: Relay, peer: TransportAddress, *, is_active: bool) -> FiveTuple | None:
    base = relay.bases.get(peer.family)
    if base is None:
        return None
    local = TransportAddress(base.host, ACTIVE_PORT) if is_active else base
    path = FiveTuple(local, peer, TransportProtocol.TCP)
    return path if Base.of(path) in relay.ends() else None
