"""Dialling a peer at several addresses at a time; the first that answers wins (RFC 8305, after its manner)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence

from signalling.errors import DialError, LimitExceeded, SignallingError
from signalling.libp2p.addresses import dial_order
from signalling.libp2p.aio.connection import Connection, Transport
from signalling.libp2p.host_config import HostConfig
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId

__all__ = ["Dialer"]

logger = logging.getLogger("signalling")


class Dialer:
    """Finds the transport of an address, and runs the dials."""

    def __init__(self, config: HostConfig, transports: Sequence[Transport]) -> None:
        """``transports`` is the host's own list and may grow."""
        self._config = config
        self._transports = transports
        self._pending = 0

    def can_dial(self, address: Multiaddr) -> bool:
        """Whether a transport understands the address."""
        return any(transport.can_dial(address) for transport in self._transports)

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
                    failures[str(running.pop(task))] = failure
        finally:
            await _abandon(running)
        raise DialError(_summary(peer, failures), failures)

    async def _dial_one(self, address: Multiaddr, peer: PeerId | None) -> Connection:
        for transport in self._transports:
            if transport.can_dial(address):
                async with asyncio.timeout(self._config.dial_timeout):
                    return await transport.dial(address, peer)
        raise DialError("no transport dials this kind of address")


def _failure(task: asyncio.Task[Connection]) -> str | None:
    """Return what went wrong in a finished dial, or None when nothing did. Programming errors come through."""
    try:
        task.result()
    except TimeoutError:
        return "no answer in time"
    except (SignallingError, OSError) as error:
        return str(error) or type(error).__name__
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
