"""One ICE session on asyncio: what an application sees of it and tells it, and the short way for data."""

from __future__ import annotations

import asyncio

from ice.aio.running import RunningSession
from ice.aio.stats import SessionStats
from ice.candidate import Candidate
from ice.description import Description
from ice.errors import FailureReason, IceError, SessionClosedError
from ice.events import State
from ice.pair import CandidatePair
from ice.roles import Role

__all__ = ["Session"]


class Session(RunningSession):
    """An ICE session (RFC 8445) with one peer, for one component.

    Everything but the constructor wants a running loop. Events, each emitted from the loop and never from within a
    method of this class: ``"candidate"`` (:class:`~ice.Candidate`, or None when there are no more), ``"gathered"``
    (None, when :meth:`gather` returns), ``"statechange"`` (:class:`~ice.State`), ``"selectedpair"``
    (:class:`~ice.CandidatePair`), ``"candidateerror"`` (:class:`~ice.events.CandidateErrorFound`: why a relayed
    candidate is missing or gone), ``"restart"`` (:class:`~ice.Description`, to be told to the peer),
    ``"restartwanted"`` (:class:`~ice.events.RestartReason`: why :meth:`restart` would help now) and ``"closed"``
    (:class:`~ice.FailureReason`), the last one.

    Args:
        role: who nominates; a conflict with the peer is repaired.
        config: limits, timers, servers.
        network: where the sockets come from; the operating system unless told.
        rng: randomness for credentials and transaction ids; must be a CSPRNG outside of tests.
        agent: what to run instead of an agent of its own, see :class:`~ice.SessionGroup`.

    Raises:
        StunUriError: ``config.stun_servers`` has an entry that is no STUN server (a ValueError).
    """

    # -- what is known -------------------------------------------------------------------------------------------------

    @property
    def role(self) -> Role:
        """Our role; settable until the peer's description is known."""
        return self._agent.role

    @role.setter
    def role(self, role: Role) -> None:
        self._agent.role = role

    @property
    def state(self) -> State:
        """The state of the session."""
        return self._agent.state

    @property
    def local_description(self) -> Description:
        """Our credentials and options, to be told to the peer; known from the start."""
        return self._agent.local_description

    @property
    def local_candidates(self) -> list[Candidate]:
        """The candidates told so far that are still there; empty before :meth:`gather`."""
        return self._agent.local_candidates

    @property
    def remote_description(self) -> Description | None:
        """The peer's credentials and options, or None."""
        return self._agent.remote_description

    @property
    def remote_candidates(self) -> list[Candidate]:
        """The candidates that :meth:`add_remote_candidate` was given, at most ``config.max_remote_candidates``."""
        return list(self._remote_candidates)

    @property
    def selected_pair(self) -> CandidatePair | None:
        """The pair that carries data, or None."""
        return self._agent.selected_pair

    @property
    def gathering_complete(self) -> bool:
        """Whether all local candidates are known."""
        return self._complete.is_set()

    def stats(self) -> SessionStats:
        """Return counters of now (after the W3C's RTCTransportStats and RTCIceCandidatePairStats)."""
        return SessionStats.of(self._traffic, self._inbox, self._selections, self._agent.stats())

    # -- setting up ----------------------------------------------------------------------------------------------------

    async def gather(self, *, late: bool = False) -> None:
        """Gather candidates and return when what is worth waiting for is there; ``"candidate"`` tells them as found.

        Those of STUN servers that are slow over TCP may follow for up to ``gathering_timeout``. With ``late`` they are
        waited for, too: until ``"candidate"`` has told None. Calling again, also while it runs, waits for the same
        gathering.

        Raises:
            SessionClosedError: the session is closed, or was while it gathered.
        """
        self._start_gathering()
        await (self._complete if late else self._gathered).wait()
        if self._reason is not None:
            raise self._failure(self._reason)

    def set_remote_description(self, description: Description) -> None:
        """Take the peer's credentials; checks begin as soon as there are candidates.

        A description that is not the last one again is an ICE restart by the peer, or the answer to one of ours (RFC
        8445 section 9). It is answered with a new description of ours, which ``"restart"`` tells.
        """
        if self._reason is not None:
            return
        driver = self._driver_now()
        restarts = self._agent.remote_description not in (None, description)
        self._agent.set_remote_description(description, _now())
        if restarts:
            self._remote_candidates = ()
        driver.pump_soon()

    def restart(self) -> Description:
        """Restart ICE (RFC 8445 section 9): return new credentials for the peer, which ``"restart"`` tells as well.

        The candidates follow with ``"candidate"``. Data stays on the path in use until the new checks have found one.
        While the peer has not answered a description, that one is returned again, until :meth:`roll_back`.

        Raises:
            IceError: the session has ended.
        """
        if self._reason is not None:
            raise self._failure(self._reason)
        driver = self._driver_now()
        description = self._agent.restart(_now())
        driver.pump()
        return description

    def roll_back(self) -> None:
        """Give up a restart that the peer has not answered, if there is one: see :meth:`ice.agent.Agent.roll_back`."""
        self._agent.roll_back(_now())
        self._driver_now().pump()

    def add_remote_candidate(self, candidate: Candidate | None) -> None:
        """Take one of the peer's candidates; None says that there are no more.

        A candidate that cannot be used (another transport, a name instead of an address, too many) is counted in
        :meth:`stats` and otherwise ignored.
        """
        if candidate is None:
            self.end_of_remote_candidates()
        elif self._reason is None:
            driver = self._driver_now()
            if len(self._remote_candidates) < self._config.max_remote_candidates:
                self._remote_candidates += (candidate,)
            self._agent.add_remote_candidate(candidate, _now())
            driver.pump_soon()

    def end_of_remote_candidates(self, ufrag: str | None = None) -> None:
        """The peer has no more candidates, for its generation ``ufrag`` or for its last one (RFC 8838 section 14)."""
        if self._reason is None:
            driver = self._driver_now()
            self._agent.end_of_remote_candidates(_now(), ufrag)
            driver.pump_soon()

    async def connect(self) -> None:
        """Return when a pair is nominated; gathering is started if it was not yet.

        Raises:
            IceError: no pair was found, or the session was closed; its ``reason`` says which.
        """
        if self._reason is None:
            self._start_gathering()
        while self._reason is None and not self._agent.state.is_usable:
            self._decided.clear()
            await self._decided.wait()
        if self._reason is not None:
            raise self._failure(self._reason)

    def revoke_consent(self) -> None:
        """The peer has ended the session in an authenticated way, such as DTLS close_notify (RFC 7675 section 5.2)."""
        if self._reason is None:
            self._agent.revoke_consent(_now())
            self._driver_now().pump()

    async def close(self) -> None:
        """End the session and free its sockets; harmless twice, and on a session that never gathered."""
        self._agent.close(asyncio.get_running_loop().time())
        self._end(FailureReason.CLOSED)
        self._inbox.close(SessionClosedError(reason=FailureReason.CLOSED), discard=True)
        gathering, self._gathering = self._gathering, None
        if gathering is not None:
            gathering.cancel()
            await asyncio.gather(gathering, return_exceptions=True)
        if self._driver is not None:
            await self._driver.freed()  # TURN servers confirm that they have freed what was ours.

    # -- data ----------------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send one datagram on the selected pair. Like any datagram it may be lost, also on this machine.

        Raises:
            IceError: there is no pair yet, or the session has ended.
            ValueError: ``data`` is empty; peers could not tell it from nothing.
        """
        if not data:
            raise ValueError("an ICE path carries no empty datagrams")
        route, traffic = self._route, self._traffic
        if route.peer is None:
            raise self._no_path()
        if route.send(data, route.peer):
            traffic.packets_sent += 1
            traffic.bytes_sent += len(data)
        else:
            traffic.send_failures += 1

    async def receive(self) -> bytes:
        """Return the next datagram, never an empty one. A cancelled call loses none.

        Raises:
            IceError: the session has ended; what arrived before it failed is still returned first.
        """
        inbox = self._inbox
        if inbox.queue:  # What take() does, without the call: this is the hot path.
            inbox.taken += 1
            return inbox.queue.popleft()
        return await inbox.get()

    def receive_nowait(self) -> bytes | None:
        """Return the next datagram if one waits, else None."""
        return self._inbox.take()

    def _no_path(self) -> IceError:
        return self._failure(self._reason) if self._reason is not None else IceError("there is no selected pair")


def _now() -> float:
    return asyncio.get_running_loop().time()
