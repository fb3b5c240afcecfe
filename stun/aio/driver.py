"""The driver: it runs one machine on an asyncio loop, over any :class:`stun.network.Network`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.aio.timer import MachineTimer
from stun.machine import Machine, Transmit
from stun.network import DatagramReceiver, DatagramSocket, Network, SocketAddress
from stun.values import COOKIE

__all__ = ["DataReceiver", "Driver"]

logger = logging.getLogger("stun")

EventT = TypeVar("EventT")

DataReceiver = Callable[[bytes, tuple[str, int], TransportAddress], None]
"""Called with application data, the ``(host, port)`` it came from and our own address; must not raise."""


class Driver(Generic[EventT]):
    """Feeds a machine its datagrams and the time, carries out its effects, and keeps its one timer.

    The time is ``loop.time()``, so a loop with virtual time drives a machine just as well. Call :meth:`pump` after
    every input that you give the machine yourself.
    """

    __slots__ = (
        "_closed",
        "_loop",
        "_on_data",
        "_on_effect",
        "_on_event",
        "_pumping",
        "_timer",
        "machine",
        "network",
        "sockets",
        "unsendable",
    )

    def __init__(
        self,
        machine: Machine[Any, EventT],
        network: Network,
        on_event: Callable[[EventT], None],
        *,
        on_effect: Callable[[Any], None] | None = None,
        on_data: DataReceiver | None = None,
    ) -> None:
        """Args:
        machine: what to run.
        network: where :meth:`bind` gets sockets from.
        on_event: takes the machine's events; it may call the machine and :meth:`pump`.
        on_effect: takes effects other than Transmit.
        on_data: takes datagrams that do not look like STUN, past the machine; without it the machine gets all.
        """
        self.machine = machine
        self.network = network
        self.sockets: tuple[DatagramSocket, ...] = ()
        """The bound sockets."""
        self.unsendable = 0
        """Transmits whose path has no socket (any more)."""
        self._on_event = on_event
        self._on_effect = on_effect
        self._on_data = on_data
        self._loop = asyncio.get_running_loop()
        self._timer = MachineTimer(machine, self)
        self._pumping = False
        self._closed = False

    async def bind(self, local: TransportAddress) -> TransportAddress:
        """Bind a UDP socket for the machine and return its real address.

        Raises:
            OSError: the address cannot be bound.
        """
        # The receiver needs the real port, which only the socket knows; nothing arrives before the next await.
        holder: list[TransportAddress] = [local]
        bound = await self.network.bind(local, self._receiver(holder))
        holder[0] = bound.local
        if self._closed:
            bound.close()
            raise OSError("the driver is closed")
        self.sockets += (bound,)
        return bound.local

    def socket_at(self, local: TransportAddress) -> DatagramSocket | None:
        """Return the socket that is bound to an address, or None."""
        for bound in self.sockets:  # Of one or two; a dictionary would take more room than the sockets.
            if bound.local == local:
                return bound
        return None

    def unbind(self, local: TransportAddress) -> None:
        """Close one socket; harmless when there is none."""
        if (bound := self.socket_at(local)) is not None:
            self.sockets = tuple(other for other in self.sockets if other is not bound)
            bound.close()

    def pump(self) -> None:
        """Drain effects, then events, then re-arm the timer."""
        if self._pumping or self._closed:
            return  # the outer call goes on draining
        self._pumping = True
        try:
            self._drain()
        finally:
            self._pumping = False
        self._timer.arm()

    def close(self) -> None:
        """Close the sockets and stop the timer; harmless twice. Effects still queued are carried out first."""
        if self._closed:
            return
        self.pump()
        self._closed = True
        self._timer.stop()
        for bound in self.sockets:
            bound.close()
        self.sockets = ()

    def _receiver(self, holder: list[TransportAddress]) -> DatagramReceiver:
        machine = self.machine
        time = self._loop.time
        on_data = self._on_data

        def receive(data: bytes, remote: SocketAddress) -> None:
            if on_data is not None and (data[4:8] != COOKIE or data[0] > 3):
                on_data(data, remote, holder[0])
                return
            path = FiveTuple(holder[0], TransportAddress(remote[0], remote[1]), TransportProtocol.UDP)
            machine.receive_datagram(data, path, time())
            self.pump()

        return receive

    def _drain(self) -> None:
        machine = self.machine
        while True:
            while (effect := machine.next_effect()) is not None:
                if isinstance(effect, Transmit):
                    self._transmit(effect)
                elif not self._other_effect(effect):
                    logger.warning("nobody carries out %r", effect)
            if (event := machine.next_event()) is None:
                return
            self._notice(event)

    def _notice(self, event: EventT) -> None:
        self._on_event(event)

    def _transmit(self, effect: Transmit) -> None:
        bound = self.socket_at(effect.path.local)
        if bound is None:
            self.unsendable += 1
        else:
            bound.send(effect.data, effect.path.remote)

    def _other_effect(self, effect: object) -> bool:
        if self._on_effect is None:
            return False
        self._on_effect(effect)
        return True
