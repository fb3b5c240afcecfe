"""What an agent is told about TCP: its bases there, and what becomes of connections (RFC 6544)."""

from __future__ import annotations

from typing import Final

from ice.candidate import Base, TcpType, own_base
from ice.errors import IceError
from ice.outputs import AgentOutputs
from ice.relay import ACTIVE_PORT
from ice.tcp import Connect, ConnectError
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.machine import Release

__all__ = ["ACTIVE_PORT", "TcpInputs"]

_ACTIVE: Final = TcpType.ACTIVE
_TCP: Final = TransportProtocol.TCP


class TcpInputs(AgentOutputs):
    """The inputs of an agent that have to do with TCP."""

    __slots__ = ()

    def begin_gathering(self, now: float) -> None:
        """As of :class:`~ice.agent.Agent`."""
        raise NotImplementedError

    def _finish_gathering(self) -> None:
        raise NotImplementedError

    def add_tcp_base(self, address: TransportAddress, tcp_type: TcpType, now: float) -> None:
        """Take an address into use that TCP connections are opened from, accepted at, or both.

        For an active base the port does not matter. At the others a socket listens, and for simultaneous opens
        connections are opened from the very same port.

        Raises:
            IceError: as :meth:`~ice.agent.Agent.add_local_base`.
        """
        if self._config.relays_only:
            raise IceError("the configuration allows relayed candidates only")
        if tcp_type is _ACTIVE:
            address = TransportAddress(address.host, ACTIVE_PORT)
        base = own_base(address, _TCP)
        if base in self._sources:
            raise IceError(f"the base {base} is known already")
        if sum(known.protocol is _TCP for known in self._local.bases) >= self._config.max_local_bases:
            raise IceError("there are as many TCP bases as the configuration allows")
        self._sources.add_base(base)
        self._local.add_base(base, tcp_type)
        if self._gathering.began:
            self.begin_gathering(now)

    def path_opened(self, path: FiveTuple, now: float) -> None:
        """A connection was opened as a Connect asked for it, or accepted."""
        if self.state.is_over:
            self._outbox.effects.append(Release(path))  # It crossed the end of the session.
            return
        if path in self._tcp_gathering:
            self._tcp_gathering.opened(path)
        else:
            self._tcp.opened(path, self._checks, now)
        self._settle(now)

    def path_failed(self, path: FiveTuple, error: ConnectError, now: float) -> None:
        """A connection that a Connect asked for was not opened."""
        if not self.state.is_over:
            self._tcp_gathering.gone(path)
            self._tcp.failed(path, error, self._checks, now)
            self._settle(now)

    def path_closed(self, path: FiveTuple, now: float) -> None:
        """A connection is gone, and not because of a Release."""
        if not self.state.is_over:
            self._tcp_gathering.gone(path)
            self._tcp.closed(path, self._checks, now)
            self._settle(now)

    # -- for the agent --

    def _run_tcp_gathering(self, now: float) -> None:
        failed = self.relays.tcp.failed
        while failed:
            self._tcp.failed(failed.popleft()[0], ConnectError.REFUSED, self._checks, now)
        if self._tcp_gathering.is_pending:
            self._tcp_gathering.run(self._gathering.is_idle and not self.relays.is_gathering, now)
            self._finish_gathering()

    def _close_tcp(self, now: float) -> None:
        self._tcp.close()
        self._tcp_gathering.stop()
        self._drain_tcp(now)

    def _drain_tcp(self, now: float) -> None:
        for room in (self._tcp, self._tcp_gathering):
            if not room.effects:
                continue
            for effect in room.effects:
                relay = self.relays.by_base.get(Base.of(effect.path))
                if relay is not None and isinstance(effect, Connect):
                    self.relays.tcp.connect(relay, effect.path, now)
                else:
                    self._outbox.effects.append(effect)
            room.effects.clear()
