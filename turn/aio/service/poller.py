"""Watching thousands of datagram sockets behind one descriptor of the asyncio loop.

asyncio makes a handle, a selector key and a call through its queue for every socket that has something to read. A
relay has a socket for each allocation, so these are kept in an epoll instance of their own, which the loop watches as
one; what is ready is called straight away.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable

__all__ = ["Poller"]

_EVENTS = 64
"""Sockets that one wake-up looks at before the loop's other work has its turn; the rest is still ready then."""

Ready = Callable[[bool], None]
"""Called when a socket can be read; the argument tells whether it also has an error to report."""


class Poller:
    """A set of sockets with their callbacks; without epoll the loop watches each one itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._callbacks: dict[int, Ready] = {}
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        if self._epoll is not None:
            loop.add_reader(self._epoll.fileno(), self._ready)

    def __len__(self) -> int:
        return len(self._callbacks)

    def add(self, watched: socket.socket, ready: Ready) -> None:
        """Call ``ready`` whenever ``watched`` has something to read."""
        descriptor = watched.fileno()
        self._callbacks[descriptor] = ready
        if self._epoll is not None:
            self._epoll.register(descriptor, select.EPOLLIN)
        else:
            self._loop.add_reader(descriptor, ready, False)

    def remove(self, watched: socket.socket) -> None:
        """Stop watching; to be called before the socket is closed."""
        descriptor = watched.fileno()
        if self._callbacks.pop(descriptor, None) is None:
            return
        if self._epoll is not None:
            self._epoll.unregister(descriptor)
        elif not self._loop.is_closed():
            self._loop.remove_reader(descriptor)

    def close(self) -> None:
        """Stop watching anything; harmless twice."""
        if self._epoll is not None and not self._epoll.closed:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
        self._callbacks.clear()

    def _ready(self) -> None:
        assert self._epoll is not None
        callbacks = self._callbacks
        for descriptor, mask in self._epoll.poll(0, _EVENTS):
            ready = callbacks.get(descriptor)
            if ready is not None:  # closed by the callback of another one
                ready(bool(mask & select.EPOLLERR))
