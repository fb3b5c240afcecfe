"""The least that a connected pair can cost: its messages over bare sockets, with nothing that is ICE around them.

Each side asks once, as two agents of ours do: one of the checks nominates. Both requests are answered, and all four
messages are signed, parsed and verified by our own codec. No candidates, no checklists, no timers, no state.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Callable

from stun import attributes as att
from stun.address import TransportAddress
from stun.message import Message, MessageClass, Method, parse
from stun.transaction import new_transaction_id

__all__ = ["bare_checks"]

_KEY = b"a-password-of-22-bytes"
_RNG = random.SystemRandom()


class _End:
    def __init__(self, host: str, nominates: bool, answered: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((host, 0))
        self._loop.add_reader(self._socket.fileno(), self._readable)
        self._nominates = nominates
        self._answered = answered
        self.address: tuple[str, int] = self._socket.getsockname()
        self.peer = self.address

    def ask(self) -> None:
        role = att.ICE_CONTROLLING if self._nominates else att.ICE_CONTROLLED
        said = [(att.USERNAME, "abcd:efgh"), (att.PRIORITY, 1853693695), (role, 1 << 60)]
        if self._nominates:
            said += [(att.USE_CANDIDATE, True), (att.NOMINATION, 1)]
        request = Message(Method.BINDING, MessageClass.REQUEST, new_transaction_id(_RNG), said)
        self._socket.sendto(request.serialize(_KEY, fingerprint=True), self.peer)

    def _readable(self) -> None:
        while True:
            try:
                data, remote = self._socket.recvfrom(65536)
            except BlockingIOError:
                return
            message = parse(data)
            if not message.verify_integrity(_KEY) or message.unknown_required():
                raise RuntimeError("a message was damaged on its way")
            if message.message_class is MessageClass.REQUEST:
                response = message.success((att.XOR_MAPPED_ADDRESS, TransportAddress(*remote)))
                self._socket.sendto(response.serialize(_KEY, fingerprint=True), remote)
            else:
                self._answered()

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()


async def bare_checks(host: str, pairs: int) -> float:
    """Return the seconds of CPU time that the messages of so many pairs take, all at once."""
    left, done = 2 * pairs, asyncio.Event()

    def answered() -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    ends: list[_End] = []
    for _ in range(pairs):
        first, second = _End(host, True, answered), _End(host, False, answered)
        first.peer, second.peer = second.address, first.address
        ends += [first, second]
    began = time.process_time()
    for end in ends:
        end.ask()
    await done.wait()
    took = time.process_time() - began
    for end in ends:
        end.close()
    return took
