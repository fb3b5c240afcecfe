"""Our ICE session behind the face of ``aioice.Connection``: the fifteen names that aiortc uses of it, and no more.

What aiortc counts on, found by breaking it: ``local_candidates`` is empty before gathering (it is used as a flag);
``connect``, ``send`` and ``recv`` raise ``ConnectionError`` and nothing else; ``get_event`` returns a
``ConnectionClosed`` once the connection has ended, in whatever way; ``close`` is also called on what never gathered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

# The very names that aiortc compares with; aioice is its dependency, not ours.
from aiortc.rtcicetransport import Candidate as AioiceCandidate  # type: ignore[attr-defined]
from aiortc.rtcicetransport import ConnectionClosed  # type: ignore[attr-defined]

from ice import Candidate, Description, IceConfig, IceError, Role, Session
from ice.errors import CandidateError
from webrtc_bridge.ending import end_tasks

__all__ = ["IceConnection"]

logger = logging.getLogger("webrtc_bridge")


class IceConnection:
    """One ICE session for one ``aiortc.RTCIceTransport``."""

    def __init__(
        self, config: IceConfig, on_candidate: Callable[[AioiceCandidate | None], None], *, trickles: bool = True
    ) -> None:
        """``on_candidate`` is told each local candidate as it is found, and None at the end."""
        self._trickles = trickles
        self.session = Session(Role.CONTROLLED, config)
        self.remote_is_lite = False
        self.remote_username: str | None = None
        self.remote_password: str | None = None
        self.told_all = False
        """Whether ``on_candidate`` was told the end."""
        self._max_early = config.max_remote_candidates
        self._on_candidate = on_candidate
        self._described = False
        self._early: list[Candidate | None] = []
        self._closed = asyncio.Event()
        self._found = asyncio.Event()
        self.session.on("candidate", self._tell)
        self.session.on("restart", lambda description: setattr(self, "told_all", False))
        self.session.on("closed", lambda reason: self._closed.set())

    # ---------------------------------------------------------------- read by aiortc

    @property
    def local_username(self) -> str:
        """The user name fragment for our description."""
        return self.session.local_description.ufrag

    @property
    def local_password(self) -> str:
        """The password for our description."""
        return self.session.local_description.pwd

    @property
    def local_candidates(self) -> list[AioiceCandidate]:
        """The candidates found so far."""
        return [_to_aioice(candidate) for candidate in self.session.local_candidates]

    @property
    def remote_candidates(self) -> list[AioiceCandidate]:
        """The candidates that the peer told."""
        return [_to_aioice(candidate) for candidate in self.session.remote_candidates]

    @property
    def ice_controlling(self) -> bool:
        """Whether we nominate."""
        return self.session.role is Role.CONTROLLING

    @ice_controlling.setter
    def ice_controlling(self, controlling: bool) -> None:
        self.session.role = Role.CONTROLLING if controlling else Role.CONTROLLED

    # ---------------------------------------------------------------- awaited by aiortc

    async def gather_candidates(self) -> None:
        """Return when all local candidates are known; at once when the session is closed.

        Without trickling, what comes too late to be worth waiting for is of no use to anybody, and not waited for.
        """
        try:
            await self.session.gather(late=self._trickles)
        except IceError as error:
            logger.debug("gathering ended: %s", error)

    async def first_candidate(self) -> None:
        """Start to gather, and return at the first candidate: what a description that trickles needs."""
        gathering = asyncio.ensure_future(self.gather_candidates())
        found = asyncio.ensure_future(self._found.wait())
        try:
            await asyncio.wait((gathering, found), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_tasks(gathering, found)

    async def add_remote_candidate(self, candidate: AioiceCandidate | None) -> None:
        """Take a candidate of the peer, or None for their end; it waits for the credentials when it comes early."""
        try:
            taken = None if candidate is None else Candidate.from_sdp(candidate.to_sdp())
        except CandidateError as error:
            logger.debug("a remote candidate is ignored: %s", error)
            return
        if self._described:
            self.session.add_remote_candidate(taken)
        elif len(self._early) < self._max_early:
            self._early.append(taken)

    async def connect(self) -> None:
        """Return when a pair is nominated.

        Raises:
            ConnectionError: none was, or the peer's credentials cannot be used.
        """
        if self.remote_username is None or self.remote_password is None:
            raise ConnectionError("the peer's credentials are not known")
        if not self._described:
            if self.remote_is_lite:
                self.session.role = Role.CONTROLLING
            description = Description(self.remote_username, self.remote_password, lite=self.remote_is_lite)
            self.session.set_remote_description(description)
            self._described = True
            early, self._early = self._early, []
            for candidate in early:
                self.session.add_remote_candidate(candidate)
        await self.session.connect()

    # ---------------------------------------------------------------- ICE restart, which aiortc knows nothing of

    def restart(self) -> bool:
        """Have new credentials and candidates for the next description; return whether there was what to restart."""
        is_possible = self._described and not self.session.state.is_over
        if is_possible:
            self.session.restart()
        return is_possible

    def follow(self, username: str, password: str) -> bool:
        """Take credentials of a later description of the peer; return whether they are new, which is a restart."""
        is_new = self._described and (username, password) != (self.remote_username, self.remote_password)
        if is_new:
            self.remote_username, self.remote_password = username, password
            self.session.set_remote_description(Description(username, password, lite=self.remote_is_lite))
        return is_new

    async def gather_again(self) -> None:
        """Return when the candidates of a restart are known; at once when there was none."""
        if self._described:
            await self.gather_candidates()

    async def recv(self) -> bytes:
        """Return the next datagram, never an empty one; raises ``ConnectionError`` at the end."""
        return await self.session.receive()

    async def send(self, data: bytes) -> None:
        """Send one datagram; raises ``ConnectionError`` when there is no path."""
        self.session.send(data)

    async def get_event(self) -> ConnectionClosed:
        """Return once the connection has ended, by failure, lost consent or :meth:`close`."""
        await self._closed.wait()
        return ConnectionClosed()

    async def close(self) -> None:
        """End the session. Harmless twice, and before anything has happened."""
        await self.session.close()
        self._closed.set()

    def _tell(self, candidate: Candidate | None) -> None:
        self._found.set()
        self.told_all = candidate is None
        self._on_candidate(None if candidate is None else _to_aioice(candidate))


def _to_aioice(candidate: Candidate) -> Any:
    return AioiceCandidate.from_sdp(candidate.to_sdp().removeprefix("candidate:"))
