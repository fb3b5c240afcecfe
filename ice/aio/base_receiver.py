"""What takes the datagrams of one socket of a session, and tells STUN from data."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ice.aio.stats import Traffic
from ice.sources import Sources
from stun.address import FiveTuple, TransportAddress
from stun.demux import is_stun
from stun.network import SocketAddress

if TYPE_CHECKING:
    from ice.aio.driver import AgentDriver

__all__ = ["BaseReceiver"]


class BaseReceiver:
    """STUN goes to the agent, data from where the peer has authenticated to ``put``; the rest is counted.

    Nothing is taken before :meth:`open_to` has told the address of the socket.
    """

    __slots__ = ("_driver", "_local", "_put", "_sources", "_traffic")

    def __init__(self, driver: AgentDriver, put: Callable[[bytes], None], traffic: Traffic) -> None:
        self._driver = driver
        self._put = put
        self._traffic = traffic
        self._local: TransportAddress | None = None
        self._sources: Sources | None = None

    def open_to(self, bound: TransportAddress) -> None:
        """The socket is a base of the agent."""
        self._local, self._sources = bound, self._driver.agent.accepted_sources(bound)

    def receive(self, data: bytes, remote: SocketAddress) -> None:
        """Take one datagram."""
        if not data:
            self._traffic.discarded += 1
        elif data[0] < 4 and is_stun(data) and self._local is not None:
            path = self._driver.path  # Most come on one, and a path takes time to make.
            if path is None or path.remote != remote or path.local != self._local:
                path = self._driver.path = FiveTuple(self._local, TransportAddress(remote[0], remote[1]))
            self._driver.receive_stun(data, path)
        elif self._sources is not None and remote in self._sources.accepted:
            self._put(data)
        else:
            self._traffic.discarded += 1
