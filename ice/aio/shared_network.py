"""The hook between a session and a network whose sockets it shares with other sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from stun.address import TransportAddress
from stun.network import DatagramReceiver, DatagramSocket, Network

__all__ = ["NetworkSeat", "ProtocolFactory", "SharedListener", "SharedNetwork"]

ProtocolFactory = Callable[[], asyncio.Protocol]
"""Makes what takes a connection, as for :meth:`asyncio.loop.create_server`."""


class SharedListener(Protocol):
    """What one session has of a shared listening socket."""

    @property
    def local(self) -> TransportAddress:
        """The shared address."""

    def close(self) -> None:
        """Take no more connections there; open ones stay the session's. Harmless twice."""


class NetworkSeat(Protocol):
    """One session's place on a shared network."""

    async def bind(self, local: TransportAddress, receiver: DatagramReceiver) -> DatagramSocket:
        """As :meth:`stun.network.Network.bind`, for a base: what is the session's arrives at ``receiver``.

        The port is the shared one, whatever ``local`` says.

        Raises:
            OSError: the address is not one of the shared ones, or the session has left.
        """

    def listen(self, host: str, factory: ProtocolFactory) -> SharedListener:
        """Take TCP connections at a shared address: those whose first frame is a check for this session.

        What ``factory`` makes gets such a connection as if it had been accepted for it, that first frame included.

        Raises:
            OSError: nothing listens there, or the session has left.
        """

    def add_ufrag(self, ufrag: str) -> None:
        """Take checks for this user name fragment too: an ICE restart has begun (RFC 8445 section 9).

        Raises:
            MuxError: it is another session's, or the session has too many.
        """

    def drop_ufrag(self, ufrag: str) -> None:
        """Take no checks for this user name fragment any more; harmless when it is unknown."""

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
