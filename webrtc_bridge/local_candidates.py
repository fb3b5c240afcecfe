"""Our candidates of a data-only peer connection: gathered, and told in the order that signalling needs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ice import Candidate, Session
from signalling.libp2p.webrtc_signalling import IceCandidate

__all__ = ["LocalCandidates"]

logger = logging.getLogger("webrtc_bridge")


class LocalCandidates:
    """Finds the candidates of one session, again after each ICE restart."""

    def __init__(
        self,
        session: Session,
        tell: Callable[[IceCandidate | None], object],
        changed: Callable[[], object],
        place: Callable[[], tuple[str, int]],
    ) -> None:
        """Args:
        session: whose candidates.
        tell: called with each candidate that is found, and with None at the end.
        changed: called when :attr:`state` has changed.
        place: returns mid and index of the section that they belong to.
        """
        self.state = "new"
        """``RTCIceGatheringState`` of the W3C."""
        self.task: asyncio.Task[None] | None = None
        """The gathering, once it was begun."""
        self._session = session
        self._tell = tell
        self._changed = changed
        self._place = place
        self._held: list[Candidate | None] | None = None
        session.on("candidate", self._found)

    def start(self) -> asyncio.Task[None]:
        """Begin to gather, and return the task that does; harmless twice."""
        if self.task is None:
            self.task = asyncio.create_task(self._begin())
        return self.task

    def again(self) -> None:
        """ICE has restarted, and with it the gathering, if it was begun."""
        if self.task is not None:
            self._set_state("gathering")
            if self.task.done():
                self.task = asyncio.create_task(self._gather())

    def hold(self) -> None:
        """Tell nothing until :meth:`release`: the description that the candidates belong to goes first (RFC 8838
        section 9)."""
        if self._held is None:
            self._held = []

    def release(self) -> None:
        """Tell what was found meanwhile, though not from within the caller, who is about to tell the description."""
        held, self._held = self._held, None
        for candidate in held or ():
            asyncio.get_running_loop().call_soon(self._tell_one, candidate)

    def described(self) -> list[str]:
        """Return the candidates found so far, as a description has them."""
        return [candidate.to_sdp() for candidate in self._session.local_candidates]

    async def _begin(self) -> None:
        self._set_state("gathering")
        await self._gather()

    async def _gather(self) -> None:
        try:
            await self._session.gather()
        except ConnectionError as error:
            logger.debug("gathering ended: %s", error)
            self._set_state("complete")

    def _set_state(self, state: str) -> None:
        self.state = state
        self._changed()

    def _found(self, candidate: Candidate | None) -> None:
        if candidate is None:
            if not self._session.gathering_complete:
                return  # It was the end of before a restart.
            self._set_state("complete")
        if self._held is None:
            self._tell_one(candidate)
        else:
            self._held.append(candidate)

    def _tell_one(self, candidate: Candidate | None) -> None:
        if candidate is None:
            self._tell(None)
            return
        mid, index = self._place()
        ufrag = candidate.ufrag or self._session.local_description.ufrag
        line = candidate.to_sdp()
        self._tell(IceCandidate(candidate=line, sdp_mid=mid, sdp_mline_index=index, username_fragment=ufrag))
