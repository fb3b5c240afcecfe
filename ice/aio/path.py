"""``ice.connect``: from a way to exchange a few messages to a path for datagrams, in one statement."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ice.aio.session import Session
from ice.aio.stats import SessionStats
from ice.candidate import Candidate
from ice.config import IceConfig
from ice.description import Description, EndOfCandidates
from ice.events import RestartReason
from ice.exchange import Exchange, ExchangeError, Item
from ice.pair import CandidatePair
from ice.roles import Role
from stun.network import Network

__all__ = ["Path", "connect"]

logger = logging.getLogger("ice")


class Path:
    """A connected path to the peer. It carries datagrams: each arrives whole or not at all, perhaps out of order."""

    def __init__(self, session: Session) -> None:
        self.session = session
        """The session behind it, with its events and settings."""

    async def send(self, data: bytes) -> None:
        """Send one datagram. It is given to the network at once, and like any datagram it may be lost.

        Raises:
            IceError: the path is gone.
            ValueError: ``data`` is empty.
        """
        self.session.send(data)

    def restart(self) -> None:
        """Look for a path anew (ICE restart, RFC 8445 section 9); this one is used until there is another.

        Raises:
            IceError: the path is gone.
        """
        self.session.restart()

    async def receive(self) -> bytes:
        """Return the next datagram; a cancelled call loses none.

        Raises:
            IceError: the path is gone.
        """
        return await self.session.receive()

    @property
    def selected_pair(self) -> CandidatePair | None:
        """The two candidates in use."""
        return self.session.selected_pair

    def stats(self) -> SessionStats:
        """Return counters of now."""
        return self.session.stats()


@asynccontextmanager
async def connect(
    exchange: Exchange,
    *,
    role: Role,
    config: IceConfig | None = None,
    network: Network | None = None,
    rng: random.Random | None = None,
) -> AsyncIterator[Path]:
    """Connect to the peer at the other end of ``exchange`` and yield the path; closed on exit.

    Description and candidates are told as they become known (RFC 8838), and those of the peer are taken until the block
    is left, so that either side may restart ICE. The exchange stays its owner's: it is not closed.

    Args:
        exchange: the way to the peer.
        role: one side is controlling, the other controlled: the one that began controls.
        config: limits, timers, servers.
        network: where the sockets come from; the operating system unless told.
        rng: see :class:`~ice.Session`.

    Raises:
        IceError: no path was found; ``reason`` says why, and :class:`~ice.exchange.ExchangeError` that the signalling
            broke first.
    """
    session = Session(role, config, network, rng)
    signalling = _Signalling(session, exchange)
    tasks = [
        asyncio.create_task(signalling.speak(), name="ice: tell the peer"),
        asyncio.create_task(signalling.listen(), name="ice: hear the peer"),
    ]
    try:
        await _connected(session, tasks)
        yield Path(session)
    finally:
        for task in tasks:
            task.cancel()
        await session.close()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _connected(session: Session, signalling: list[asyncio.Task[None]]) -> None:
    """Wait for the session, or for the signalling to break before it has a path."""
    connecting = asyncio.create_task(session.connect(), name="ice: connect")
    try:
        pending: set[asyncio.Task[None]] = {connecting, *signalling}
        while connecting in pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if connecting not in done:
                for task in done:
                    task.result()
        connecting.result()
    finally:
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)


class _Signalling:
    """Carries a session's items to the exchange and back, restarts included: every description once and in order."""

    def __init__(self, session: Session, exchange: Exchange) -> None:
        self._session = session
        self._exchange = exchange
        self._outgoing: asyncio.Queue[Item] = asyncio.Queue()
        self._describe(session.local_description)
        session.on("candidate", self._found)
        session.on("restart", self._describe)
        session.on("restartwanted", self._restart)

    def _describe(self, description: Description) -> None:
        self._ufrag = description.ufrag
        self._outgoing.put_nowait(description)

    def _restart(self, reason: RestartReason) -> None:
        if not self._session.state.is_over:
            logger.info("restarting ICE: %s", reason.value)
            self._session.restart()

    def _found(self, candidate: Candidate | None) -> None:
        self._outgoing.put_nowait(candidate if candidate is not None else EndOfCandidates(self._ufrag))

    async def speak(self) -> None:
        """Send the description, then candidates as they are found and their end, and so for every restart."""
        await self._exchange.send(await self._outgoing.get())
        gathering = asyncio.create_task(self._session.gather(), name="ice: gather")
        try:
            while True:
                await self._exchange.send(await self._outgoing.get())
        finally:
            gathering.cancel()
            await asyncio.gather(gathering, return_exceptions=True)

    async def listen(self) -> None:
        """Take what the peer tells."""
        session = self._session
        async for item in self._exchange:
            match item:
                case Description():
                    session.set_remote_description(item)
                case Candidate():
                    session.add_remote_candidate(item)
                case EndOfCandidates(ufrag):
                    session.end_of_remote_candidates(ufrag)
        if session.remote_description is None:
            raise ExchangeError("the signalling ended before the peer's description came")
        session.add_remote_candidate(None)
