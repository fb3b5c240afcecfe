"""What an agent does with what arrives: whose check it is, or whose answer (RFC 8445 sections 7.2.5 and 7.3)."""

from __future__ import annotations

from typing import Final

from ice.candidate import Base, Candidate
from ice.signalled import AgentSignalled
from stun import attributes as att
from stun.address import FiveTuple
from stun.demux import is_stun
from stun.errors import StunParseError
from stun.machine import Transmit
from stun.message import Message, MessageClass, Method, parse

__all__ = ["AgentReceiving"]

_REQUEST: Final = MessageClass.REQUEST
_INDICATION: Final = MessageClass.INDICATION
_BINDING: Final = Method.BINDING


class AgentReceiving(AgentSignalled):
    """The inputs from the network, at sockets and at relayed addresses.

    What becomes of connections is told to :class:`~ice.tcp_inputs.TcpInputs`.
    """

    __slots__ = ()

    def receive_datagram(self, data: bytes, path: FiveTuple, now: float) -> None:
        """Take a STUN message that arrived on ``path``, at a socket or a relayed base, or what a TURN server sends.

        Anything else is dropped and counted.
        """
        if self.relays.by_path and path in self.relays.by_path:
            self.relays.receive(data, path, now)
            return
        if self._lifecycle.state.is_over or Base.of(path) not in self._sources:
            self._drop("datagram: no session there")
            return
        self._receive(data, path, now)
        self._settle(now)

    def _hear_peers(self, now: float) -> None:
        """Take what peers sent to relayed addresses."""
        received = self.relays.received
        while received:
            data, path = received.popleft()
            if is_stun(data):
                self._receive(data, path, now)
            elif self.is_valid_path(*path) and data:
                self._relayed.append(data)
            else:
                self._drop("relayed: not from the peer")

    def _receive(self, data: bytes, path: FiveTuple, now: float) -> None:
        """Take a STUN message that did not come from a TURN server."""
        try:
            message = parse(data)
        except StunParseError:
            self._drop("datagram: not STUN")
            return
        if message.method is not _BINDING:
            self._drop("datagram: not a Binding message")
        elif message.message_class is _REQUEST:
            self._on_request(message, len(data), path, now)
        elif message.message_class is not _INDICATION:  # An indication is a keepalive and says nothing.
            self._on_response(message, path, now)

    def _on_request(self, request: Message, size: int, path: FiveTuple, now: float) -> None:
        ours, _, _ = (request.get(att.USERNAME) or "").partition(":")
        generation = self._generations.of_local(ours) or self._generations.current
        answer = generation.responder.answer(request, path, size)
        self._outbox.effects.append(Transmit(answer.data, path))
        check = answer.check
        if check is None or check.is_refused:
            self._drop("check: refused")
        if check is None:
            return
        self._tcp.authenticated(path)
        meant = self._generations.meant_by(check, generation)
        if meant is None and not generation.is_given_up:
            generation.note_early(check, self._config.max_early_checks)
        elif meant is None or meant.is_retired:
            if not check.is_refused:  # A refusal does not let the peer go on there (RFC 7675).
                self._generations.answered(meant or generation, now)
        else:
            meant.checking.receive_check(check, now)

    def _on_response(self, response: Message, path: FiveTuple, now: float) -> None:
        gathering, over_tcp = self._gathering, self._tcp_gathering
        if over_tcp.in_use and path in over_tcp:
            return self._gathered(over_tcp.receive(response, path))
        if gathering.in_use and response.transaction_id in gathering:
            return self._gathered(gathering.receive(response, path, now))
        for generation in self._generations.kept:
            consent = generation.consent
            if consent is not None and response.transaction_id in consent:
                if not consent.receive(response, path, now):
                    self._drop("response: no consent")
                return
            if generation.checking.receive_response(response, path, now):
                return
        self._drop("response: unknown or not authentic")

    def _gathered(self, candidate: Candidate | None) -> None:
        """A server has answered."""
        if candidate is not None:
            self._found(candidate)
        self._finish_gathering()
