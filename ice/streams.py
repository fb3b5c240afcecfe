"""Several streams of several components in one session: an agent each, and what they share (RFC 8445 section 6.1.2)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping

from ice.agent import Agent
from ice.candidate import Candidate
from ice.component import Component, SharedComponent, SharedRooms, StreamCredentials
from ice.config import IceConfig
from ice.description import Description
from ice.errors import FailureReason, IceError
from ice.events import State
from ice.lite import narrowed
from ice.roles import Role

__all__ = ["Streams", "overall_state"]


def overall_state(required: Iterable[State], others: Iterable[State] = ()) -> State:
    """Return the state of a whole session, the worst of its components as the W3C has it for RTCIceConnectionState.

    One component that fails, of those that are ``required``, fails the session. Closed ones do not count beside others.
    """
    required = list(required)
    states = [*required, *(state for state in others if state is not State.FAILED)]
    alive = [state for state in states if state is not State.CLOSED]
    if State.FAILED in required:
        return State.FAILED
    if not alive:
        return State.CLOSED if states else State.NEW
    if State.DISCONNECTED in alive:
        return State.DISCONNECTED
    if all(state is State.NEW for state in alive):
        return State.NEW
    if State.NEW in alive or State.CHECKING in alive:
        return State.CHECKING
    return State.COMPLETED if all(state is State.COMPLETED for state in alive) else State.CONNECTED


class Streams:
    """The agents of one session, each of which is to be driven like any other.

    They have one role and tiebreaker, one pace, and one book of foundations: of those that candidates of several
    components have in common, one pair is checked first, and its success lets the others go (section 6.1.2.6). The
    components of a stream have one user name fragment and password.

    Args:
        config: the settings; ``max_pairs`` is for all agents together.
        role: our role until a conflict changes it.
        rng: a CSPRNG such as ``random.SystemRandom()``, or a seeded generator in tests.
    """

    def __init__(self, config: IceConfig, role: Role, *, rng: random.Random) -> None:
        self._config = narrowed(config)
        self._rng = rng
        self._shared = SharedRooms(self._config, role, rng)
        self._credentials: dict[str, StreamCredentials] = {}
        self._by_place: dict[tuple[str, int], Agent] = {}
        self._optional: set[tuple[str, int]] = set()
        self._components: dict[tuple[str, int], Component] = {}

    # -- what there is --

    def add(self, stream: str, component: int = 1, *, required: bool = True) -> Agent:
        """Return a new agent for a component of a stream; without ``required`` its failure is not the session's.

        Raises:
            IceError: there is one, the peer has described the stream already, or the number is not 1..256.
        """
        place = (stream, component)
        if not 1 <= component <= 256:
            raise IceError("a component is numbered 1..256 (RFC 8445 section 5.1.2.1)")
        if place in self._by_place:
            raise IceError(f"stream {stream!r} has a component {component} already")
        if any(agent.remote_description is not None for agent in self.of(stream)):
            raise IceError(f"the peer has described stream {stream!r} already")
        if stream not in self._credentials:
            self._credentials[stream] = StreamCredentials(self._config, self._rng)
        seat = SharedComponent(self._shared, self._credentials[stream], component)
        agent = Agent(self._config, self.role, rng=self._rng, component=seat)
        self._components[place], self._by_place[place] = seat, agent
        if not required:
            self._optional.add(place)
        return agent

    @property
    def agents(self) -> Mapping[tuple[str, int], Agent]:
        """The agents by stream and component."""
        return self._by_place

    def component(self, stream: str, number: int) -> Component:
        """Return the place of an agent, whose ``settled`` a driver can set.

        Raises:
            KeyError: there is no such agent.
        """
        return self._components[stream, number]

    def of(self, stream: str) -> Iterator[Agent]:
        """Yield the agents of a stream, the lowest component first."""
        for place in sorted(self._by_place):
            if place[0] == stream:
                yield self._by_place[place]

    @property
    def role(self) -> Role:
        """Our role; settable until a description of the peer is known."""
        return self._shared.roles.role

    @role.setter
    def role(self, role: Role) -> None:
        if role is self.role:
            return
        if any(agent.remote_description is not None for agent in self._by_place.values()):
            raise IceError("the role is fixed once the peer's description is known")
        self._shared.roles.role = role

    @property
    def state(self) -> State:
        """The state of the whole session, see :func:`overall_state`."""
        places = self._by_place.items()
        return overall_state(
            (agent.state for place, agent in places if place not in self._optional),
            (agent.state for place, agent in places if place in self._optional),
        )

    @property
    def failure_reason(self) -> FailureReason | None:
        """Why the session has failed: the reason of the first required component that has. None if it has not."""
        for place, agent in sorted(self._by_place.items(), key=lambda item: item[0]):
            if place not in self._optional and agent.state is State.FAILED:
                return agent.failure_reason
        return None

    @property
    def local_descriptions(self) -> dict[str, Description]:
        """Our credentials, to be told to the peer, for each stream."""
        return {stream: credentials.latest for stream, credentials in self._credentials.items()}

    # -- the peer --

    def set_remote_description(self, stream: str, description: Description, now: float) -> None:
        """Take the peer's credentials of one stream; other ones than before are its ICE restart of that stream."""
        for agent in self.of(stream):
            agent.set_remote_description(description, now)

    def add_remote_candidate(self, stream: str, candidate: Candidate, now: float) -> None:
        """Take one of the peer's candidates; one of a component or stream that there is not is dropped."""
        agent = self.taker(stream, candidate)
        if agent is not None:
            agent.add_remote_candidate(candidate, now)

    def taker(self, stream: str, candidate: Candidate) -> Agent | None:
        """Return the agent that a candidate is for, or the first of the stream, which counts it as dropped."""
        return self._by_place.get((stream, candidate.component)) or next(self.of(stream), None)

    def end_of_remote_candidates(self, stream: str, now: float, ufrag: str | None = None) -> None:
        """The peer has no more candidates for any component of the stream (RFC 8838 section 14)."""
        for agent in self.of(stream):
            agent.end_of_remote_candidates(now, ufrag)

    # -- the whole session --

    def restart(self, now: float) -> dict[str, Description]:
        """Restart ICE in all streams (RFC 8445 section 9) and return the new descriptions.

        Raises:
            IceError: the session is over.
        """
        if self.state.is_over:
            raise IceError("the session is over", self.failure_reason)
        for agent in self._by_place.values():
            if not agent.state.is_over:
                agent.restart(now)
        return self.local_descriptions

    def close(self, now: float) -> None:
        """End all of it. Harmless twice."""
        for agent in self._by_place.values():
            agent.close(now)
