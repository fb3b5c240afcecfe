"""Driving sans-IO machines in a stepped world, without asyncio: exact message counts, thousands of machines."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

from stun.address import FiveTuple, TransportAddress
from stun.machine import Machine, Transmit
from tests.simulation.host import Host, SimulatedSocket

__all__ = ["Driven"]

MachineT = TypeVar("MachineT", bound=Machine[Any, Any])


class Driven(Generic[MachineT]):
    """One machine on one host: its datagrams, its timer, its events.

    Args:
        host: where its sockets are bound.
        machine: what is driven.
        on_effect: takes effects that are not a :class:`Transmit`; without it they are an error.
    """

    def __init__(self, host: Host, machine: MachineT, on_effect: Callable[[Any], None] | None = None) -> None:
        self.host = host
        self.machine = machine
        self.events: list[Any] = []
        """Every event so far, oldest first."""
        self.sent = 0
        """Datagrams sent so far."""
        self.received = 0
        """Datagrams received so far."""
        self._on_effect = on_effect
        self._sockets: dict[TransportAddress, SimulatedSocket] = {}
        self._armed: float | None = None

    def bind(self, host: str | None = None, port: int = 0) -> TransportAddress:
        """Bind a socket (on the host's first address unless told) for the machine and return its address."""
        wanted = TransportAddress(host or self.host.addresses[0], port)
        socket = self.host.bind(wanted, lambda data, remote: self._receive(socket.local, data, remote))
        self._sockets[socket.local] = socket
        return socket.local

    def _receive(self, local: TransportAddress, data: bytes, remote: tuple[str, int]) -> None:
        self.received += 1
        self.machine.receive_datagram(data, FiveTuple(local, TransportAddress(*remote)), self.host.world.now)
        self.pump()

    def pump(self) -> None:
        """Drain the machine and re-arm its timer; call it after giving the machine any input."""
        while (effect := self.machine.next_effect()) is not None:
            self._perform(effect)
        while (event := self.machine.next_event()) is not None:
            self.events.append(event)
        deadline = self.machine.next_timeout()
        if deadline is not None and (self._armed is None or deadline.at < self._armed):
            self._armed = deadline.at
            self.host.world.at(max(deadline.at, self.host.world.now), partial(self._timeout, deadline.at))

    def _perform(self, effect: Any) -> None:
        if isinstance(effect, Transmit):
            self.sent += 1
            self._sockets[effect.path.local].send(effect.data, effect.path.remote)
        elif self._on_effect is not None:
            self._on_effect(effect)
        else:
            raise TypeError(f"nobody performs {effect!r}")

    def _timeout(self, armed: float) -> None:
        if self._armed != armed:
            return  # An earlier deadline took its place.
        self._armed = None
        deadline = self.machine.next_timeout()
        if deadline is not None and deadline.at <= self.host.world.now:
            self.machine.handle_timeout(self.host.world.now)
        self.pump()

    def of_type(self, kind: type[Any]) -> list[Any]:
        """Return the events of one type so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def close(self) -> None:
        """Close the machine's sockets."""
        for socket in self._sockets.values():
            socket.close()
        self._sockets.clear()
