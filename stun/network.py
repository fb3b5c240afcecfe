"""The port through which drivers reach a network: real sockets in ``stun.aio``, simulated ones in the tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, runtime_checkable

from stun.address import TransportAddress

__all__ = [
    "ConnectableSocket",
    "DatagramReceiver",
    "DatagramSocket",
    "Interface",
    "Network",
    "SocketAddress",
    "provides",
]


@lru_cache(maxsize=256)
def provides(kind: type, protocol: type) -> bool:
    """Whether objects of a class have the methods of a ``runtime_checkable`` protocol.

    For ``isinstance`` Python 3.11 goes through all members every time; a session asks it a few times.
    """
    return issubclass(kind, protocol)


class Interface(NamedTuple):
    """One IP address of one network interface."""

    name: str
    host: str
    prefix_length: int
    temporary: bool = False
    """Whether it is a temporary IPv6 address (RFC 8981) that is fit for new connections."""


class DatagramSocket(Protocol):
    """A bound UDP socket that never blocks and never raises on what the network does."""

    @property
    def local(self) -> TransportAddress:
        """The address it is bound to; the port is the real one."""

    def send(self, data: bytes, remote: tuple[str, int]) -> bool:
        """Send one datagram; False when the kernel or the simulated link would not take it (it is then dropped)."""

    def close(self) -> None:
        """Stop receiving and free the port; harmless twice."""


@runtime_checkable
class ConnectableSocket(Protocol):
    """A :class:`DatagramSocket` that can also give one peer a socket of its own, which is faster."""

    def connect(self, remote: tuple[str, int]) -> DatagramSocket | None:
        """Return a socket on the same port, with the same receiver, for ``remote`` alone; None when there is none.

        What comes from elsewhere still arrives at this socket, and this one can still send anywhere.
        """


SocketAddress = tuple[Any, ...]
"""``(host, port)``, and two more items where a socket of IPv6 says it.

What each datagram passes through takes its address so: compiled, a tuple of a known length is taken apart when it is
handed in, and made anew when it is handed on.
"""

DatagramReceiver = Callable[[bytes, tuple[str, int]], None]
"""Called once per datagram with its bytes and the ``(host, port)`` it came from; must not raise."""


class Network(Protocol):
    """What a driver needs of the world below it."""

    def interfaces(self) -> Sequence[Interface]:
        """Return every address of every interface that is up, loopback included."""

    async def resolve(self, host: str, port: int) -> Sequence[TransportAddress]:
        """Return the addresses of ``host`` (a name or an IP literal), both families.

        Raises:
            OSError: the name does not resolve.
        """

    async def bind(self, local: TransportAddress, receiver: DatagramReceiver) -> DatagramSocket:
        """Bind a UDP socket (port 0 picks one) and deliver what arrives on it to ``receiver``.

        Raises:
            OSError: the address cannot be bound.
        """
