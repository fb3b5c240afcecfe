"""Dialling a peer at several addresses at a time; the first that answers wins (RFC 8305, after its manner)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from signalling.errors import ConnectionClosed, DialError, LimitExceeded, PeerIdMismatch, SignallingError
from signalling.libp2p.addresses import AddressBook, dial_order
from signalling.libp2p.aio.connection import Connection, Transport
from signalling.libp2p.host_config import HostConfig
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId

__all__ = ["Dialer", "SharedDials"]

logger = logging.getLogger("signalling")


class Dialer:
    """Finds the transport of an address, and runs the dials."""

    def __init__(self, config: HostConfig, transports: Sequence[Transport], book: AddressBook) -> None:
        """``transports`` is the host's own list and may grow; ``book`` forgets addresses of somebody else."""
        self._config = config
        self._transports = transports
        self._book = book
        self._pending = 0

    async def dial(self, addresses: Sequence[Multiaddr], peer: PeerId | None) -> Connection:
        """Return a connection through one of ``addresses``; ``peer`` is who must answer.

        Raises:
            DialError: none of them led there; ``failures`` says why, address by address.
            LimitExceeded: too many dials are under way.
        """
        if self._pending >= self._config.max_pending_dials:
            raise LimitExceeded(f"there are {self._pending} dials under way already")
        self._pending += 1
        try:
            return await self._race(dial_order(addresses), peer)
        finally:
            self._pending -= 1

    async def _race(self, addresses: Sequence[Multiaddr], peer: PeerId | None) -> Connection:
        waiting = deque(addresses)
        running: dict[asyncio.Task[Connection], Multiaddr] = {}
        failures: dict[str, str] = {}
        try:
            while waiting or running:
                if waiting and len(running) < self._config.max_parallel_addresses:
                    address = waiting.popleft()
                    running[asyncio.create_task(self._dial_one(address, peer), name=f"dial {address}")] = address
                more = waiting and len(running) < self._config.max_parallel_addresses
                pause = self._config.dial_stagger if more else None
                done, _ = await asyncio.wait(running, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    failure = _failure(task)
                    if failure is None:
                        del running[task]
                        return task.result()
                    address = running.pop(task)
                    failures[str(address)] = str(failure) or type(failure).__name__
                    if isinstance(failure, PeerIdMismatch) and peer is not None:
                        self._book.forget(peer, address)
        finally:
            await _abandon(running)
        raise DialError(_summary(peer, failures), failures)

    async def _dial_one(self, address: Multiaddr, peer: PeerId | None) -> Connection:
        for transport in self._transports:
            if transport.can_dial(address):
                async with asyncio.timeout(self._config.dial_timeout):
                    return await transport.dial(address, peer)
        raise DialError("no transport dials this kind of address")


def _failure(task: asyncio.Task[Connection]) -> Exception | None:
    """Return what went wrong in a finished dial, or None when nothing did. Programming errors come through."""
    try:
        task.result()
    except TimeoutError:
        return TimeoutError("no answer in time")
    except (SignallingError, OSError) as error:
        return error
    return None


async def _abandon(running: dict[asyncio.Task[Connection], Multiaddr]) -> None:
    """Stop the dials that lost, and close what they had won in the same moment."""
    for task in running:
        task.cancel()
    for result in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(result, Connection):
            await result.close()


def _summary(peer: PeerId | None, failures: dict[str, str]) -> str:
    reasons = "; ".join(f"{address}: {reason}" for address, reason in failures.items())
    return f"cannot reach {peer or 'the peer'}: {reasons or 'it has no address that can be dialled'}"


@dataclass(slots=True)
class _Shared:
    task: asyncio.Task[Connection]
    waiters: int = 0


class SharedDials:
    """Lets callers that want the same thing at the same time share one dial; it stops when none of them waits."""

    def __init__(self) -> None:
        self._dials: dict[Hashable, _Shared] = {}
        self._tasks: set[asyncio.Task[Connection]] = set()
        """Every dial that has not ended: the shared ones, and those that nobody waits for any more."""

    async def join(self, target: Hashable, dial: Coroutine[Any, Any, Connection]) -> Connection:
        """Return what ``dial``, or the one under way to ``target``, returns or raises.

        Raises:
            ConnectionClosed: :meth:`close` was called.
        """
        shared = self._dials.get(target)
        if shared is None:
            shared = self._start(target, dial)
        else:
            dial.close()
        shared.waiters += 1
        try:
            return await asyncio.shield(shared.task)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if caller is not None and not caller.cancelling():
                raise ConnectionClosed("the dial was stopped") from None
            raise
        finally:
            shared.waiters -= 1
            if not shared.waiters:
                self._forget(target, shared)  # Who comes while it stops must not share its end.
                shared.task.cancel()

    async def close(self) -> None:
        """Stop every dial."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, target: Hashable, dial: Coroutine[Any, Any, Connection]) -> _Shared:
        shared = _Shared(asyncio.get_running_loop().create_task(dial, name=f"dial {target}"))
        self._dials[target] = shared
        self._tasks.add(shared.task)
        shared.task.add_done_callback(lambda task: self._finished(target, shared))
        return shared

    def _forget(self, target: Hashable, shared: _Shared) -> None:
        if self._dials.get(target) is shared:
            del self._dials[target]

    def _finished(self, target: Hashable, shared: _Shared) -> None:
        self._forget(target, shared)
        self._tasks.discard(shared.task)
        if not shared.task.cancelled():
            shared.task.exception()  # Told to whoever waits, and to nobody else.
