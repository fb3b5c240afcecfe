"""The Binding client over UDP and TCP: asks servers for our reflexive address (RFC 8489 sections 6 and 12)."""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass

from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.auth import Anonymous, Authenticator, Verdict
from stun.config import BindingClientConfig
from stun.errors import StunFramingError, StunParseError
from stun.framing import StunStreamDecoder
from stun.machine import Deadline, Outbox, Release, Transmit
from stun.message import Message, MessageClass, Method, parse
from stun.transaction import Transaction, TransactionTable, new_transaction_id
from stun.values import ErrorCode

__all__ = ["BindingClient", "BindingEvent", "BindingFailed", "FailureReason", "Mapped"]


class FailureReason(enum.Enum):
    """Why a server did not tell our address."""

    TIMEOUT = "no response"
    ERROR_RESPONSE = "error response"
    REFUSED = "credentials refused"
    INTEGRITY_VIOLATED = "integrity violated"
    MALFORMED = "response without an address that we understand"
    CLOSED = "connection closed"


@dataclass(frozen=True, slots=True)
class Mapped:
    """Event: a server told our address."""

    path: FiveTuple
    address: TransportAddress
    """Our transport address as the server sees it."""
    round_trip: float
    """Seconds from the first send to the response; too long when the request was sent again."""
    software: str | None
    """SOFTWARE of the server."""
    other_address: TransportAddress | None = None
    """OTHER-ADDRESS of a server that serves RFC 5780."""


@dataclass(frozen=True, slots=True)
class BindingFailed:
    """Event: a server did not tell our address."""

    path: FiveTuple
    reason: FailureReason
    error: ErrorCode | None = None
    """The ERROR-CODE of the response, where there is one."""


BindingEvent = Mapped | BindingFailed


@dataclass(slots=True)
class _Context:
    token: bytes | None
    attempts: int


class BindingClient:
    """Asks any number of servers, one request a path at a time being usual but not required.

    Over TCP, :meth:`path_opened` has to come before :meth:`request`.
    """

    def __init__(
        self,
        rng: random.Random,
        config: BindingClientConfig | None = None,
        authenticator: Authenticator | None = None,
    ) -> None:
        """Args:
        rng: makes transaction ids; ``random.SystemRandom`` outside of tests.
        config: times and attributes.
        authenticator: signs requests to a server that wants that; one client then talks to one server.
        """
        self.config = config or BindingClientConfig()
        self.dropped = 0
        """Datagrams that were no response to an open request."""
        self._rng = rng
        self._auth: Authenticator = authenticator or Anonymous()
        self._outbox: Outbox[Transmit | Release, BindingEvent] = Outbox()
        self._table: TransactionTable[_Context] = TransactionTable(self.config.transaction)
        self._decoders: dict[FiveTuple, StunStreamDecoder] = {}

    # -- inputs --

    def request(self, path: FiveTuple, now: float) -> None:
        """Ask the server at the far end of ``path``.

        Raises:
            ValueError: a stream path that is not open, or too many requests are outstanding.
        """
        if path.protocol.is_stream and path not in self._decoders:
            raise ValueError(f"{path} is not open")
        self._send(path, 1, now)

    def receive_datagram(self, data: bytes, path: FiveTuple, now: float) -> None:
        """Take what came from a server. Never raises."""
        try:
            response = parse(data)
        except StunParseError:
            self.dropped += 1
            return
        transaction = self._table.match(response, path)
        if transaction is None:
            self.dropped += 1
            return
        self._judge(response, transaction, now)

    def path_opened(self, path: FiveTuple, now: float) -> None:
        """A connection to a server is open."""
        self._decoders[path] = StunStreamDecoder(self.config.max_message)

    def receive_data(self, data: bytes, path: FiveTuple, now: float) -> None:
        """Take what came on a connection; ``b""`` is the server's end. Never raises."""
        decoder = self._decoders.get(path)
        if decoder is None:
            return
        try:
            messages = decoder.receive(data)
        except StunFramingError:
            messages = []
            data = b""
        for message in messages:
            self.receive_datagram(message, path, now)
        if not data:
            self._outbox.effects.append(Release(path))
            self.path_closed(path, now)

    def path_closed(self, path: FiveTuple, now: float) -> None:
        """A connection is gone, and with it what was asked on it."""
        self._decoders.pop(path, None)
        for transaction in self._table.on_path(path):
            self._fail(transaction, FailureReason.CLOSED, now)

    def handle_timeout(self, now: float) -> None:
        """Send again what is due, and give up what is over."""
        again, over = self._table.handle_timeout(now)
        self._outbox.effects.extend(again)
        for transaction in over:
            violated = transaction.rejected_responses > 0
            reason = FailureReason.INTEGRITY_VIOLATED if violated else FailureReason.TIMEOUT
            self._outbox.events.append(BindingFailed(transaction.path, reason))

    # -- outputs --

    def next_effect(self) -> Transmit | Release | None:
        """Return the next request to send or connection to close, or None."""
        return self._outbox.next_effect()

    def next_event(self) -> BindingEvent | None:
        """Return the next outcome, or None."""
        return self._outbox.next_event()

    def next_timeout(self) -> Deadline | None:
        """Return when a request is to be sent again or given up."""
        return self._table.next_timeout()

    # -- inside --

    def _send(self, path: FiveTuple, attempts: int, now: float) -> None:
        request = Message(Method.BINDING, MessageClass.REQUEST, new_transaction_id(self._rng))
        if self.config.software is not None:
            request.add(att.SOFTWARE, self.config.software)
        token = self._auth.token
        wire = self._auth.serialize(request, self.config.fingerprint)
        self._outbox.effects.append(self._table.start(request, wire, path, _Context(token, attempts), now))

    def _judge(self, response: Message, transaction: Transaction[_Context], now: float) -> None:
        verdict = self._auth.judge(response, transaction.context.token)
        if verdict is Verdict.RETRY and response.unknown_required():
            self._fail(transaction, FailureReason.MALFORMED, now, response.error)  # section 6.3.4
            return
        if verdict is Verdict.DISCARD:
            transaction.rejected_responses += 1
            if transaction.path.protocol.is_stream:
                self._fail(transaction, FailureReason.INTEGRITY_VIOLATED, now)
        elif verdict is Verdict.REFUSED:
            self._fail(transaction, FailureReason.REFUSED, now, response.error)
        elif verdict is Verdict.RETRY and transaction.context.attempts < self.config.max_attempts:
            self._table.finish(transaction, now)
            self._send(transaction.path, transaction.context.attempts + 1, now)
        elif verdict is Verdict.RETRY:
            self._fail(transaction, FailureReason.REFUSED, now, response.error)
        else:
            self._conclude(response, transaction, now)

    def _conclude(self, response: Message, transaction: Transaction[_Context], now: float) -> None:
        if response.message_class is MessageClass.ERROR:
            reason = FailureReason.MALFORMED if response.error is None else FailureReason.ERROR_RESPONSE
            self._fail(transaction, reason, now, response.error)
            return
        # Servers of RFC 3489 know only MAPPED-ADDRESS (section 11).
        address = response.get(att.XOR_MAPPED_ADDRESS) or response.get(att.MAPPED_ADDRESS)
        if address is None or response.unknown_required():
            self._fail(transaction, FailureReason.MALFORMED, now)
            return
        self._table.finish(transaction, now)
        round_trip = max(0.0, now - transaction.started)
        software, other = response.get(att.SOFTWARE), response.get(att.OTHER_ADDRESS)
        self._outbox.events.append(Mapped(transaction.path, address, round_trip, software, other))

    def _fail(
        self, transaction: Transaction[_Context], reason: FailureReason, now: float, error: ErrorCode | None = None
    ) -> None:
        if reason is FailureReason.CLOSED:
            self._table.cancel(transaction.request.transaction_id)
        else:
            self._table.finish(transaction, now)
        self._outbox.events.append(BindingFailed(transaction.path, reason, error))
