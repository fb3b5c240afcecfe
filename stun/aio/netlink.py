"""Hearing from Linux that interfaces or addresses have changed (rtnetlink, ``man 7 rtnetlink``)."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable
from weakref import WeakKeyDictionary

__all__ = ["watch_interfaces"]

logger = logging.getLogger("stun")

_ROUTE = 0
_LINK, _IPV4_ADDRESS, _IPV6_ADDRESS = 0x1, 0x10, 0x100
"""Multicast groups of ``linux/rtnetlink.h``: RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR."""
_LARGEST = 65536

_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch] = WeakKeyDictionary()
"""One socket a loop is enough for any number of listeners."""


def watch_interfaces(changed: Callable[[], None]) -> Callable[[], None] | None:
    """Have ``changed`` called from the running loop whenever something about interfaces or addresses has changed.

    What has changed is not told: list them again. Returns what ends the watch, or None where the system tells nothing
    (any but Linux, and where its sandbox does not let us listen).
    """
    if sys.platform != "linux":
        return None
    loop = asyncio.get_running_loop()
    watch = _watches.get(loop)
    if watch is None:
        try:
            watch = _watches[loop] = _Watch(loop)
        except OSError as error:
            logger.debug("interfaces cannot be watched: %s", error)
            return None
    return watch.add(changed)


class _Watch:
    """One netlink socket."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        family: int = socket.AF_NETLINK
        self._socket = socket.socket(family, socket.SOCK_RAW, _ROUTE)
        try:
            self._socket.setblocking(False)
            self._socket.bind((0, _LINK | _IPV4_ADDRESS | _IPV6_ADDRESS))
            loop.add_reader(self._socket.fileno(), self._readable)
        except OSError:
            self._socket.close()
            raise
        self._loop = loop
        self._listeners: dict[_Listener, None] = {}

    def add(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Tell one more listener; return what ends that."""
        listener = _Listener(self, changed)
        self._listeners[listener] = None
        return listener.end

    def drop(self, listener: _Listener) -> None:
        """Tell a listener no more; the last one closes the socket."""
        if listener in self._listeners:
            del self._listeners[listener]
            if not self._listeners:
                self._close()

    def _readable(self) -> None:
        while True:
            try:
                self._socket.recv(_LARGEST)
            except BlockingIOError:
                break
            except OSError:  # Too many at a time (ENOBUFS): what was lost is a change too.
                break
        for listener in list(self._listeners):
            listener.changed()

    def _close(self) -> None:
        if _watches.get(self._loop) is self:
            del _watches[self._loop]
        if not self._loop.is_closed():
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()


class _Listener:
    """Who is told of changes: there are as many as sessions."""

    __slots__ = ("_watch", "changed")

    def __init__(self, watch: _Watch, changed: Callable[[], None]) -> None:
        self._watch = watch
        self.changed = changed

    def end(self) -> None:
        """Be told no more; harmless twice."""
        self._watch.drop(self)
