"""The connections that a host has, how many there may be, and which one a new stream takes."""

from __future__ import annotations

from signalling.errors import LimitExceeded
from signalling.libp2p.aio.connection import Connection
from signalling.libp2p.circuit import is_relayed
from signalling.libp2p.host_config import HostConfig
from signalling.libp2p.peer_id import PeerId

__all__ = ["ConnectionTable", "is_direct"]


class ConnectionTable:
    """Connections by peer, in the order in which they came."""

    def __init__(self, config: HostConfig) -> None:
        self._config = config
        self._by_peer: dict[PeerId, list[Connection]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, connection: Connection) -> None:
        """Take a connection in.

        Raises:
            LimitExceeded: there are too many, in all or to this peer.
        """
        if self._count >= self._config.max_connections:
            raise LimitExceeded(f"there are {self._count} connections already")
        same_peer = self._by_peer.get(connection.remote_peer, [])
        if len(same_peer) >= self._config.max_connections_per_peer:
            raise LimitExceeded(f"there are {len(same_peer)} connections to {connection.remote_peer} already")
        self._by_peer.setdefault(connection.remote_peer, []).append(connection)
        self._count += 1

    def remove(self, connection: Connection) -> bool:
        """Take a connection out; False when it was not in."""
        same_peer = self._by_peer.get(connection.remote_peer, [])
        if connection not in same_peer:
            return False
        same_peer.remove(connection)
        self._count -= 1
        if not same_peer:
            del self._by_peer[connection.remote_peer]
        return True

    def get(self, peer: PeerId | None = None) -> list[Connection]:
        """Return the open connections, to ``peer`` or to everyone."""
        if peer is not None:
            return [connection for connection in self._by_peer.get(peer, ()) if not connection.closed]
        return [connection for same_peer in self._by_peer.values() for connection in same_peer if not connection.closed]

    def best(self, peer: PeerId) -> Connection | None:
        """Return the connection that a new stream to ``peer`` takes: direct, else unlimited, else limited.

        Of its kind the newest, because an old one may be dead without our knowing it yet.
        """
        newest_first = reversed(self.get(peer))
        return max(newest_first, key=lambda one: (one.limit is None, is_direct(one)), default=None)


def is_direct(connection: Connection) -> bool:
    """Whether no relay carries the connection."""
    return connection.limit is None and not is_relayed(connection.remote_address)
