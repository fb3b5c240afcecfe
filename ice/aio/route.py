"""Where a session's data goes: the one call between an application's datagram and a socket, a relay or a connection."""

from __future__ import annotations

from ice.aio.driver import AgentDriver, Send
from stun.address import FiveTuple, TransportAddress
from stun.network import ConnectableSocket, DatagramSocket, SocketAddress

__all__ = ["Route"]


class Route:
    """Follows the selected path. ``send(data, peer)`` is the way of data; plain attributes, because it is hot."""

    __slots__ = ("_driver", "_own_socket", "_own_socket_after", "_path", "_sent_first", "peer", "send")

    def __init__(self, own_socket_after: int) -> None:
        self.send: Send = _no_socket
        """Sends one datagram; False when it is lost."""
        self.peer: tuple[str, int] | None = None
        """Where to; None while there is no path."""
        self._own_socket_after = own_socket_after
        self._path: FiveTuple | None = None
        self._driver: AgentDriver | None = None
        self._own_socket: DatagramSocket | None = None
        self._sent_first = 0

    def follow(self, path: FiveTuple | None, driver: AgentDriver) -> None:
        """Send on ``path`` from now on, or nowhere."""
        if path == self._path:
            return
        self.close()
        if path is None:
            return
        self._driver = driver
        sender = driver.sender(path)
        if sender is not None:
            self._path, self.peer, self.send = path, path.remote, sender
        elif driver.socket_at(path.local) is not None:
            self._path, self.peer, self.send = path, path.remote, self._send_first

    def cut(self, base: TransportAddress) -> None:
        """A socket is about to be closed: what is sent by it is lost until there is another path."""
        path, peer = self._path, self.peer
        if path is not None and path.local == base:
            self.close()
            self._path, self.peer = path, peer

    def close(self) -> None:
        """Send nowhere."""
        if self._own_socket is not None:
            self._own_socket.close()
        self._path, self.peer, self._own_socket, self.send = None, None, None, _no_socket
        self._sent_first = 0

    def _send_first(self, data: bytes, remote: SocketAddress) -> bool:
        """Send while it is not known whether the path is worth a socket of its own."""
        if self._path is None or self._driver is None:
            return False
        socket = self._driver.socket_at(self._path.local)
        if socket is None:
            return False
        self._sent_first += 1
        if self._sent_first > self._own_socket_after:
            self._own_socket = socket.connect(remote) if isinstance(socket, ConnectableSocket) else None
            self.send = (self._own_socket or socket).send
        return socket.send(data, remote)


def _no_socket(data: bytes, remote: SocketAddress) -> bool:
    return False
