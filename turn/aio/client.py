"""TURN for asyncio code: ``async with turn.allocate(config) as allocation``."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Generator
from types import TracebackType

from stun.aio.udp import UdpNetwork
from stun.network import Network
from turn.aio.allocation import TurnAllocation
from turn.aio.credentials import fetch_credentials
from turn.aio.resolve import Target, locate_turn
from turn.config import Credentials, RelayTransport, TurnServerConfig
from turn.errors import (
    TurnAddressFamilyError,
    TurnAllocationMismatchError,
    TurnCredentialsError,
    TurnError,
    TurnRedirectError,
    TurnResolveError,
    TurnTimeoutError,
    TurnUnreachableError,
)
from turn.redirect import Redirects

__all__ = ["Allocating", "allocate"]

logger = logging.getLogger("turn")


def allocate(
    config: TurnServerConfig, *, network: Network | None = None, rng: random.Random | None = None
) -> Allocating:
    """Ask a server for an allocation: ``async with`` gives it back at the end, ``await`` leaves that to you.

    Args:
        config: the server, and what to ask it for.
        network: UDP sockets and name resolution; real ones by default. TCP and TLS always run on real ones.
        rng: transaction ids; the system's generator by default.

    Raises:
        TurnError: when entered or awaited: there is no allocation; the class says why, and names the server.
    """
    return Allocating(config, network or UdpNetwork(), rng or random.SystemRandom())


class Allocating:
    """An allocation to be: enter it or await it."""

    def __init__(self, config: TurnServerConfig, network: Network, rng: random.Random) -> None:
        self._config = config
        self._network = network
        self._rng = rng
        self._allocation: TurnAllocation | None = None

    def __await__(self) -> Generator[object, None, TurnAllocation]:
        return self._allocate().__await__()

    async def __aenter__(self) -> TurnAllocation:
        self._allocation = await self._allocate()
        return self._allocation

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._allocation is not None:
            await self._allocation.close()

    async def _allocate(self) -> TurnAllocation:
        config = self._config
        credentials = await fetch_credentials(config)
        targets = await locate_turn(config.uri, self._network, self._rng, config.client.resolver)
        if config.transport is RelayTransport.TCP:
            targets = [target for target in targets if target.protocol.is_stream]
            if not targets:
                raise TurnResolveError(
                    "TCP allocations need TCP or TLS to the server: add ?transport=tcp", server=config.url
                )
        return await self._first(targets, credentials)

    async def _first(self, targets: list[Target], credentials: Credentials | None) -> TurnAllocation:
        """Try the ways to the server, each a little after the one before it; the first allocation wins (RFC 8305)."""
        waiting = list(targets)
        running: set[asyncio.Task[TurnAllocation]] = set()
        problems: list[TurnError] = []
        try:
            while waiting or running:
                if waiting:
                    running.add(asyncio.create_task(self._follow(waiting.pop(0), credentials)))
                pause = self._config.client.stagger if waiting else None
                done, running = await asyncio.wait(running, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                for attempt in done:
                    error = attempt.exception()
                    if error is None:
                        others = running | (done - {attempt})
                        running = set()
                        attempt.result().look_after(_call_off(others))
                        return attempt.result()
                    if not isinstance(error, TurnError):
                        running |= done
                        raise error
                    problems.append(error)
                    if _is_final(error):
                        waiting.clear()
            raise _most_telling(problems)
        finally:
            await _call_off(running)

    async def _follow(self, target: Target, credentials: Credentials | None) -> TurnAllocation:
        """Ask one server, and those that it redirects to."""
        redirects = Redirects(self._config)
        target = target._replace(name=self._config.server_name or target.name)
        loop = asyncio.get_running_loop()
        while True:
            redirects.asked(target.address, loop.time())
            try:
                return await self._ask(target, credentials)
            except TurnRedirectError as error:
                alternate = redirects.follow(error, loop.time())
                if alternate is None:
                    raise
                logger.info("%s redirects to %s", target.address, alternate)
                # The alternate's certificate has to show the name that the redirect gives (RFC 8489 section 10).
                target = Target(alternate, target.protocol, error.domain or target.name)

    async def _ask(self, target: Target, credentials: Credentials | None) -> TurnAllocation:
        """Ask one server, from a new local port when it has an old allocation for ours (RFC 8656 section 7.4)."""
        tries = self._config.client.mismatch_retries
        for number in range(tries + 1):
            allocation = TurnAllocation(self._config, self._network, self._rng, target.name)
            try:
                await allocation.open(target, credentials)
            except TurnAllocationMismatchError:
                if number == tries:
                    raise
            else:
                return allocation
        raise AssertionError("unreachable")


def _is_final(error: TurnError) -> bool:
    """Whether another address of the same server would only say the same (RFC 8656 sections 7.3 and 7.4)."""
    return isinstance(error, (TurnCredentialsError, TurnAddressFamilyError))


def _most_telling(problems: list[TurnError]) -> TurnError:
    chosen = min(problems, key=_vagueness)
    for other in problems:
        if other is not chosen:
            chosen.add_note(f"and {other}")
    return chosen


def _vagueness(error: TurnError) -> int:
    """The error that says most is the one to raise: what a server said, then how it was out of reach."""
    if error.code is not None:
        return 0
    return 2 if isinstance(error, TurnTimeoutError) else 1 if isinstance(error, TurnUnreachableError) else 0


async def _call_off(attempts: set[asyncio.Task[TurnAllocation]]) -> None:
    for attempt in attempts:
        attempt.cancel()
    results = await asyncio.gather(*attempts, return_exceptions=True)
    # Those that were ready in the same moment as the one that won.
    await asyncio.gather(*(result.close() for result in results if isinstance(result, TurnAllocation)))
