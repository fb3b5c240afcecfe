"""Many datagrams in one system call: Linux's UDP segmentation offload, for a socket with one peer and for its reader.

The kernel takes several datagrams of one size as one buffer (UDP_SEGMENT, since 4.18) and hands several of one sender
over as one (UDP_GRO, since 5.0). A system call is most of what a datagram costs, so in crowds this is several times
faster; a datagram that comes alone gains nothing, and is neither delayed nor taken another way.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from stun.config import OffloadConfig

__all__ = ["CoalescedReader", "SegmentedSender"]

_SOL_UDP = 17
_UDP_SEGMENT = 103
_UDP_GRO = 104
_LARGEST = 65487
"""Bytes that one buffer may have in both families: 65,535 without the headers of IPv6."""
_SIZE = struct.Struct("=H")
_NO_OFFLOAD = (errno.EINVAL, errno.EIO, errno.EMSGSIZE, errno.EOPNOTSUPP, errno.ENOPROTOOPT)
_TELLS_OF_EARLIER = errno.ECONNREFUSED
"""What a send reports of an earlier datagram's fate."""


class SegmentedSender:
    """Sends datagrams to one peer: the first of a turn of the loop at once, the rest together at its end.

    Args:
        bound: the socket, non-blocking.
        send_one: sends one datagram and returns whether the kernel took it.
        lost: told how many datagrams the kernel did not take after :meth:`send` had said yes.
        config: limits.
        loop: whose turns are meant.
        peer: where to, as the socket wants it; None for one that is connected.
    """

    __slots__ = (
        "_bound",
        "_config",
        "_loop",
        "_lost",
        "_peer",
        "_queue",
        "_queued_bytes",
        "_send_one",
        "_turn",
        "_whole_from",
    )

    def __init__(
        self,
        bound: socket.socket,
        send_one: Callable[[bytes], bool],
        lost: Callable[[int], None],
        config: OffloadConfig,
        loop: asyncio.AbstractEventLoop,
        peer: tuple[str, int] | tuple[str, int, int, int] | None = None,
    ) -> None:
        self._bound = bound
        self._peer = peer
        self._send_one = send_one
        self._lost = lost
        self._config = config
        self._loop = loop
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._turn: asyncio.Handle | None = None
        self._whole_from = _LARGEST + 1
        """Datagrams of this size and more go alone: the path's MTU does not let the kernel cut them."""

    def send(self, data: bytes) -> bool:
        """Send a datagram, or put it to those that leave at the end of this turn of the loop.

        False when the kernel would not take it; one that waits and is not taken later is reported as lost.
        """
        if self._turn is None:
            self._turn = self._loop.call_soon(self._end_of_turn)
            return self._send_one(data)
        size = len(data)
        if self._queued_bytes + size > _LARGEST or len(self._queue) >= self._config.max_segments:
            self.flush()
        self._queue.append(data)
        self._queued_bytes += size
        return True

    def close(self) -> None:
        """Send what waits; nothing is sent by itself any more."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self.flush()

    def _end_of_turn(self) -> None:
        self._turn = None
        if self._queue:
            self.flush()

    def flush(self) -> None:
        """Send what waits now."""
        queue, self._queue, self._queued_bytes = self._queue, [], 0
        start = 0
        while start < len(queue):
            stop = _end_of_run(queue, start)
            self._send_run(queue[start:stop])
            start = stop

    def _send_run(self, run: list[bytes]) -> None:
        size = len(run[0])
        if len(run) == 1 or size >= self._whole_from:
            self._lost(sum([not self._send_one(data) for data in run]))
            return
        try:
            self._bound.sendmsg(run, [(_SOL_UDP, _UDP_SEGMENT, _SIZE.pack(size))], 0, self._peer)
        except OSError as error:
            if error.errno in _NO_OFFLOAD:
                self._whole_from = size
            if error.errno in _NO_OFFLOAD or error.errno == _TELLS_OF_EARLIER:
                self._lost(sum([not self._send_one(data) for data in run]))
            else:
                self._lost(len(run))


def _end_of_run(queue: list[bytes], start: int) -> int:
    """Return where the run that begins at ``start`` ends: equal sizes, of which the last may be smaller."""
    size = len(queue[start])
    for index in range(start + 1, len(queue)):
        if len(queue[index]) != size:
            return index + 1 if len(queue[index]) < size else index
    return len(queue)


class CoalescedReader:
    """Lets the kernel hand over datagrams of one sender together, while they come in crowds.

    Args:
        bound: the socket that is read.
        config: when a crowd begins and ends.
    """

    __slots__ = ("_alone", "_bound", "_config", "_works", "is_on")

    def __init__(self, bound: socket.socket, config: OffloadConfig) -> None:
        self._bound = bound
        self._config = config
        self._alone = 0
        self._works = config.enabled and sys.platform == "linux"
        self.is_on = False
        """Whether :meth:`read` is to be used."""

    def note_crowd(self) -> None:
        """So many datagrams came at one wake-up that it is worth it."""
        if self._works and not self.is_on:
            self._switch(True)
            self._works = self.is_on

    def read(self) -> tuple[list[bytes], Any]:
        """Return the next datagrams, all of one sender, and who that is, as sockets of the family say it.

        Raises:
            OSError: as of ``recvmsg``, a BlockingIOError when there is nothing.
        """
        data, ancillary, _, remote = self._bound.recvmsg(65535, 64)
        for level, kind, value in ancillary:
            if level == _SOL_UDP and kind == _UDP_GRO:
                size = int.from_bytes(value[:4], sys.byteorder)
                if 0 < size < len(data):
                    self._alone = 0
                    return [data[start : start + size] for start in range(0, len(data), size)], remote
        self._alone += 1
        if self._alone >= self._config.crowd_ends_after:
            self._alone = 0
            self._switch(False)
        return [data], remote

    def _switch(self, on: bool) -> None:
        try:
            self._bound.setsockopt(_SOL_UDP, _UDP_GRO, int(on))
        except OSError:
            return
        self.is_on = on
