"""The hook between a session and a network whose sockets it shares with other sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from stun.address import TransportAddress
from stun.network import DatagramReceiver, DatagramSocket, Network

__all__ = ["NetworkSeat", "SharedNetwork"]


class NetworkSeat(Protocol):
    """One session's place on a shared network.

    Its attribute ``tcp``, if it has one, is what a session has of TCP there (:class:`ice.aio.tcp_sockets.SystemTcp`).
    """

    async def bind(self, local: TransportAddress, receiver: DatagramReceiver) -> DatagramSocket:
        """As :meth:`stun.network.Network.bind`, for a base: what is the session's arrives at ``receiver``.

        The port is the shared one, whatever ``local`` says.

        Raises:
            OSError: the address is not one of the shared ones, or the session has left.
        """

    def set_ufrags(self, ufrags: Sequence[str]) -> None:
        """Take checks for these user name fragments and no others: an ICE restart has begun (RFC 8445 section 9).

        Raises:
            MuxError: one is another session's, there are none or too many, or the session has left.
        """

    def leave(self) -> None:
        """Free all that is the session's; harmless twice."""


@runtime_checkable
class SharedNetwork(Network, Protocol):
    """A network on whose sockets several sessions live. Its own ``bind`` makes sockets that are not shared."""

    def join(self, ufrag: str) -> NetworkSeat:
        """Make room for a session whose checks begin with ``ufrag``.

        Raises:
            MuxError: there is no room, or the fragment is another session's.
        """
