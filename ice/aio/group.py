"""Several streams and components on asyncio: a session each, with one role, one pace and one checklist set."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from pyee.asyncio import AsyncIOEventEmitter

from ice.aio.session import Session
from ice.candidate import Candidate
from ice.config import IceConfig
from ice.description import Description
from ice.errors import FailureReason, IceError, error_for
from ice.events import RestartReason, State
from ice.roles import Role
from ice.streams import Streams
from ice.telling import TellingOrder
from stun.network import Network

__all__ = ["SessionGroup"]

Place = tuple[str, int]


class SessionGroup(AsyncIOEventEmitter):
    """An ICE session with one peer, for several streams or components (RFC 8445 section 4).

    What is signalled goes by the stream and passes here; data passes by the sessions that :meth:`add` returns. Events,
    emitted from the loop: ``"candidate"`` (the stream and an :class:`~ice.Candidate`, or None when the stream has no
    more), ``"restart"`` (the stream and the :class:`~ice.Description` to be told), ``"restartwanted"`` (the stream and
    an :class:`~ice.events.RestartReason`) and ``"statechange"`` (:class:`~ice.State`, see
    :func:`~ice.streams.overall_state`). Restart here, never one session alone.

    Components of one stream have one user name fragment, so a shared port (:class:`~ice.Mux`) has room for one of them.

    Args:
        role: who nominates; a conflict with the peer is repaired.
        config: limits, timers, servers, for each component.
        network: where the sockets come from; the operating system unless told.
        rng: randomness for credentials and transaction ids; must be a CSPRNG outside of tests.
    """

    def __init__(
        self,
        role: Role = Role.CONTROLLING,
        config: IceConfig | None = None,
        network: Network | None = None,
        rng: random.Random | None = None,
    ) -> None:
        super().__init__()
        self._config = config or IceConfig()
        self._network = network
        self._rng = rng or random.SystemRandom()
        self._streams = Streams(self._config, role, rng=self._rng)
        self._by_place: dict[Place, Session] = {}
        self._optional: set[Place] = set()
        self._orders: dict[str, TellingOrder] = {}
        self._described: dict[str, str] = {}
        self._state = State.NEW
        self._is_stirred = False

    async def __aenter__(self) -> Self:
        """Return the group."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()

    # -- what there is ---------------------------------------------------------------------------------------------

    def add(self, stream: str = "data", component: int = 1, *, required: bool = True) -> Session:
        """Return the session of a component, before its stream is described to the peer.

        Without ``required`` the group has its path also without this component.

        Raises:
            IceError: there is one, the peer has described the stream already, or the number is not 1..256.
        """
        agent = self._streams.add(stream, component, required=required)
        session = Session(self.role, self._config, self._network, self._rng, agent)
        self._streams.component(stream, component).settled = self._stir
        self._by_place[stream, component] = session
        if not required:
            self._optional.add((stream, component))
        session.on("candidate", lambda candidate: self._told(stream, component, candidate))
        session.on("gathered", lambda _: self._settled(stream, component))
        session.on("restart", lambda description: self._restarted(stream, description))
        session.on("restartwanted", lambda reason: self._restart_wanted(stream, reason))
        session.on("statechange", lambda state: self._judge())
        session.on("closed", lambda reason: self._ended(stream, component))
        return session

    def session(self, stream: str = "data", component: int = 1) -> Session:
        """Return the session of a component.

        Raises:
            KeyError: it was never added.
        """
        return self._by_place[stream, component]

    @property
    def sessions(self) -> list[Session]:
        """The sessions, in the order in which they were added."""
        return list(self._by_place.values())

    def _of(self, stream: str) -> Iterator[Session]:
        for place in sorted(self._by_place):
            if place[0] == stream:
                yield self._by_place[place]

    @property
    def role(self) -> Role:
        """Our role; settable until a description of the peer is known."""
        return self._streams.role

    @role.setter
    def role(self, role: Role) -> None:
        self._streams.role = role

    @property
    def state(self) -> State:
        """The state of all sessions together, see :func:`~ice.streams.overall_state`."""
        return self._streams.state

    @property
    def failure_reason(self) -> FailureReason | None:
        """Why the group has failed: the reason of the first required component that has; None if it has not."""
        return self._streams.failure_reason

    @property
    def local_descriptions(self) -> dict[str, Description]:
        """Our credentials and options, to be told to the peer, for each stream."""
        return self._streams.local_descriptions

    def local_candidates(self, stream: str = "data") -> list[Candidate]:
        """Return the candidates found so far for a stream, the lowest component first."""
        return [candidate for session in self._of(stream) for candidate in session.local_candidates]

    # -- setting up ------------------------------------------------------------------------------------------------

    def set_remote_description(self, stream: str, description: Description) -> None:
        """Take the peer's credentials of a stream; others than before are its ICE restart, or the answer to ours."""
        for session in self._of(stream):
            session.set_remote_description(description)

    def add_remote_candidate(self, stream: str, candidate: Candidate | None) -> None:
        """Take one of the peer's candidates; None says that the stream has no more.

        One of a component that there is not is counted in the statistics of the stream's first session.
        """
        if candidate is None:
            self.end_of_remote_candidates(stream)
            return
        session = self._by_place.get((stream, candidate.component)) or next(self._of(stream), None)
        if session is not None:
            session.add_remote_candidate(candidate)

    def end_of_remote_candidates(self, stream: str, ufrag: str | None = None) -> None:
        """The peer has no more candidates for a stream, of its generation ``ufrag`` or of its last one."""
        for session in self._of(stream):
            session.end_of_remote_candidates(ufrag)

    async def gather(self) -> None:
        """Gather candidates for all components, each as :meth:`ice.Session.gather`.

        Raises:
            SessionClosedError: a session is closed, or was while it gathered.
        """
        await _all(session.gather() for session in self._open())

    async def connect(self) -> None:
        """Return when every required component has a pair; gathering is started if it was not yet.

        Raises:
            IceError: a required component has found no pair, or was closed; its ``reason`` says which.
        """
        if self.state is State.FAILED and self.failure_reason is not None:
            raise error_for(self.failure_reason)
        optional = [session for place, session in self._by_place.items() if place in self._optional]
        others = asyncio.gather(*(session.connect() for session in optional), return_exceptions=True)
        try:
            await _all(session.connect() for session in self._open() if session not in optional)
        finally:
            others.cancel()  # Their checks go on all the same.
            await asyncio.gather(others, return_exceptions=True)

    def _open(self) -> list[Session]:
        return [session for session in self.sessions if session.state is not State.CLOSED]

    def restart(self) -> dict[str, Description]:
        """Restart ICE in all streams (RFC 8445 section 9): return new credentials for the peer.

        Raises:
            IceError: the session has ended.
        """
        if self.state.is_over:
            raise IceError("the session is over", self.failure_reason)
        for session in self.sessions:
            if not session.state.is_over:
                session.restart()
        return self.local_descriptions

    async def close(self) -> None:
        """End all sessions and free their sockets; harmless twice."""
        await asyncio.gather(*(session.close() for session in self.sessions))

    # -- what the sessions say -------------------------------------------------------------------------------------

    def _told(self, stream: str, component: int, candidate: Candidate | None) -> None:
        order = self._order(stream)
        was_complete = order.is_complete
        found = order.completed(component) if candidate is None else order.found(candidate)
        for each in found:
            self.emit("candidate", stream, each)
        if order.is_complete and not was_complete:
            self.emit("candidate", stream, None)

    def _settled(self, stream: str, component: int) -> None:
        for each in self._order(stream).settled(component):
            self.emit("candidate", stream, each)

    def _ended(self, stream: str, component: int) -> None:
        if not self.state.is_over:
            self._told(stream, component, None)  # Others do not wait for its candidates.

    def _order(self, stream: str) -> TellingOrder:
        if stream not in self._orders:
            sessions = ((component, each) for (name, component), each in self._by_place.items() if name == stream)
            self._orders[stream] = TellingOrder(component for component, each in sessions if not each.state.is_over)
        return self._orders[stream]

    def _restarted(self, stream: str, description: Description) -> None:
        if self._described.get(stream) != description.ufrag:  # Each component says so.
            self._described[stream] = description.ufrag
            self._orders.pop(stream, None)
            self.emit("restart", stream, description)

    def _restart_wanted(self, stream: str, reason: RestartReason) -> None:
        if not self.state.is_over:
            self.emit("restartwanted", stream, reason)

    def _judge(self) -> None:
        if self.state is not self._state:
            self._state = self.state
            self.emit("statechange", self._state)

    def _stir(self) -> None:
        """An agent has had an input: what it shares with others may give them something to do."""
        if not self._is_stirred and len(self._by_place) > 1:
            self._is_stirred = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._is_stirred = False
        for session in self.sessions:
            session.pump()


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Wait for all of it; the first error ends the waiting and is raised."""
    tasks = [asyncio.create_task(each, name="ice: one component") for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
