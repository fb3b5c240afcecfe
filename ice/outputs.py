"""What an agent is drained of: effects, data, events, and when it wants to be woken."""

from __future__ import annotations

from math import inf

from ice.candidate import Base
from ice.events import Event
from ice.mdns import NameEffect
from ice.relays import RelayEffect
from ice.rooms import AgentRooms
from ice.tcp import Connect
from stun.machine import Deadline, Transmit, earliest

__all__ = ["AgentOutputs"]


class AgentOutputs(AgentRooms):
    """The outputs of an agent, see :mod:`stun.machine`."""

    __slots__ = ()

    def _settle(self, now: float) -> None:
        """Let the rooms work together after an input."""
        raise NotImplementedError

    def next_effect(self) -> Transmit | Connect | RelayEffect | NameEffect | None:
        """Return the next packet to send, what is to become of connections, or what relays and names want, or None.

        That is a Transmit, a :class:`~ice.tcp.Connect`, a Release, or an effect of :mod:`ice.relay` or :mod:`ice.mdns`.
        """
        if self._owed is not None:
            self._settle(self._owed)
        effects, relayed = self._outbox.effects, self.relays.by_base
        while effects:
            effect = effects.pop(0)
            if not relayed or not isinstance(effect, Transmit) or effect.path.protocol.is_stream:
                return effect
            if Base.of(effect.path) not in relayed:
                return effect
            self.relays.send(effect.data, effect.path)
        if self.relays.effects:
            return self.relays.effects.popleft()
        return self.names.effects.popleft() if self.names.effects else None

    def next_data(self) -> bytes | None:
        """Return the next datagram that the peer sent to a relayed address and that was no STUN, or None."""
        return self._relayed.popleft() if self._relayed else None

    def next_event(self) -> Event | None:
        """Return the next thing that the application should know, or None."""
        if self._owed is not None:
            self._settle(self._owed)
        events = self._outbox.events
        return events.pop(0) if events else None

    def next_timeout(self) -> Deadline | None:
        """Return when :meth:`handle_timeout` is wanted, or None for never."""
        relays = self.relays.next_timeout() if self.relays.in_use else None
        lifecycle = self._lifecycle
        if lifecycle.state.is_over:
            return relays  # Servers are still told that their allocations are not needed.
        carrying = self._generations.carrying
        return earliest(
            self._next_of_generations(),
            relays,
            self.names.next_timeout() if self.names.in_use else None,
            self._tcp.next_timeout() if self._tcp.by_path else None,
            self._tcp_gathering.next_timeout() if self._tcp_gathering.in_use else None,
            lifecycle.next_timeout(),
            None if carrying is None else self._upkeep.next_timeout(carrying),
        )

    def _next_of_generations(self) -> Deadline | None:
        soonest, why = inf, ""
        if self._gathering.in_use and (at := self._gathering.next_timeout()) is not None:
            soonest, why = at, "gathering"
        state = self._lifecycle.state
        for generation in self._generations.kept:
            at, consent = generation.checking.next_timeout(), generation.consent
            if at is not None and at < soonest:
                soonest, why = at, "connectivity checks"
            if consent is not None and (fresh_until := consent.next_timeout(state)) < soonest:
                soonest, why = fresh_until, "consent (RFC 7675)"
            at = generation.forget_at
            if at is not None and at < soonest:
                soonest, why = at, "an old generation"
        return Deadline(soonest, why) if why else None
