"""The requests of one client towards one server: pacing, retransmission, authentication, and what each came to."""

from __future__ import annotations

import random
from collections import deque
from typing import Any, Final, Generic, TypeVar

from stun import attributes as att
from stun.address import FiveTuple
from stun.attributes import Attribute
from stun.auth import Anonymous, Verdict
from stun.machine import Deadline, Transmit
from stun.message import Message, MessageClass, Method
from stun.nonce import SecurityFeature, features_of
from stun.transaction import Transaction, TransactionTable, new_transaction_id
from stun.values import ErrorCode
from turn.authentication import Authentication, Signed
from turn.config import TurnClientConfig
from turn.errors import (
    TurnCredentialsError,
    TurnDowngradeError,
    TurnError,
    TurnIntegrityError,
    TurnLimitError,
    TurnProtocolError,
    TurnRedirectError,
    TurnTimeoutError,
    error_of_code,
)
from turn.third_party import ThirdPartyClient

__all__ = ["Ask", "Outcome", "Requests"]

_REQUEST: Final = MessageClass.REQUEST
_ERROR: Final = MessageClass.ERROR
_ACCEPT: Final = Verdict.ACCEPT
_DISCARD: Final = Verdict.DISCARD

C = TypeVar("C")
Attributes = list[tuple[Attribute[Any], Any]]


class Ask(Generic[C]):
    """A request that somebody wants sent."""

    __slots__ = ("attributes", "context", "method")

    def __init__(self, method: Method, attributes: Attributes, context: C) -> None:
        self.method: Final = method
        self.attributes: Final = attributes
        self.context: Final = context
        """Comes back with the outcome."""


class Outcome(Generic[C]):
    """What a request came to: exactly one of ``response`` and ``error`` is there."""

    __slots__ = ("context", "error", "path", "response")

    def __init__(
        self, context: C, path: FiveTuple, response: Message | None = None, error: TurnError | None = None
    ) -> None:
        self.context: Final = context
        self.path: Final = path
        self.response: Final = response
        self.error: Final = error


class _Request(Generic[C]):
    __slots__ = ("ask", "attempts", "discarded", "path", "signed", "waited")

    def __init__(self, ask: Ask[C], path: FiveTuple) -> None:
        self.ask = ask
        self.path = path
        self.attempts = 0
        self.signed = Signed(Anonymous(), None)
        self.discarded: ErrorCode | None = None
        """The error of a response that was discarded for its signature: a hint for people."""
        self.waited = False
        """Whether it was parked for new credentials before."""


class Requests(Generic[C]):
    """Sends requests, at most so many at a time, and reports every outcome once.

    A request that is refused for its credentials is parked when ``renewable``: ``wants_credentials`` is then set, and
    :meth:`resume` sends it again.
    """

    def __init__(
        self, config: TurnClientConfig, server: str, auth: Authentication, rng: random.Random, *, renewable: bool
    ) -> None:
        self.effects: deque[Transmit] = deque()
        self.outcomes: deque[Outcome[C]] = deque()
        self.dropped = 0
        """Responses that answer nothing."""
        self.wants_credentials = False
        """Whether requests are parked until there are new credentials."""
        self._config = config
        self._server = server
        self._auth = auth
        self._rng = rng
        self._renewable = renewable
        self._table: TransactionTable[_Request[C]] = TransactionTable(config.transaction)
        self._waiting: deque[_Request[C]] = deque()
        self._parked: list[_Request[C]] = []

    def __len__(self) -> int:
        return len(self._table) + len(self._waiting) + len(self._parked)

    # -- inputs --

    def send(self, ask: Ask[C], path: FiveTuple, now: float) -> None:
        """Send a request, at once or when its turn comes."""
        if len(self._waiting) >= self._config.max_waiting:
            error = TurnLimitError("too many requests wait for the server", server=self._server)
            self.outcomes.append(Outcome(ask.context, path, error=error))
            return
        self._waiting.append(_Request(ask, path))
        self._advance(now)

    def receive(self, response: Message, path: FiveTuple, now: float) -> None:
        """Take a response."""
        transaction = self._table.match(response, path)
        if transaction is None:
            self.dropped += 1
            return
        request = transaction.context
        verdict = self._auth.judge(response, request.signed)
        if verdict is _DISCARD:
            self._discard(response, transaction, now)
        elif verdict is _ACCEPT:
            self._conclude(response, transaction, now)
        elif verdict is Verdict.RETRY and request.attempts < self._config.max_attempts:
            self._table.finish(transaction, now)
            self._waiting.appendleft(request)
        else:
            self._table.finish(transaction, now)
            self._refused(response, request)
        self._advance(now)

    def resume(self, now: float) -> None:
        """There are new credentials: send what was parked."""
        self.wants_credentials = False
        self._waiting.extendleft(reversed(self._parked))
        self._parked.clear()
        self._advance(now)

    def give_up(self, error: TurnError) -> None:
        """There are no new credentials: what was parked fails."""
        self.wants_credentials = False
        for request in self._parked:
            self._fail(request, error)
        self._parked.clear()

    def path_gone(self, path: FiveTuple, error: TurnError) -> None:
        """A path is gone: what was asked on it fails."""
        for transaction in self._table.on_path(path):
            self._table.cancel(transaction.request.transaction_id)
            self._fail(transaction.context, error)

    def path_changed(self, old: FiveTuple, new: FiveTuple, now: float) -> None:
        """The client has moved: what was asked on the old path, where nobody may listen any more, is asked again."""
        moved: list[_Request[C]] = []
        for transaction in self._table.on_path(old):
            self._table.cancel(transaction.request.transaction_id)
            moved.append(transaction.context)
        self._waiting.extendleft(reversed(moved))
        for request in (*self._waiting, *self._parked):
            if request.path == old:
                request.path = new
        self._advance(now)

    def abandon(self) -> None:
        """Forget every request; none will have an outcome."""
        self.wants_credentials = False
        self._table = TransactionTable(self._config.transaction, self._table.round_trips)
        self._waiting.clear()
        self._parked.clear()
        self.outcomes.clear()

    def handle_timeout(self, now: float) -> None:
        """Send again what is due, and give up what is over."""
        again, over = self._table.handle_timeout(now)
        self.effects.extend(again)
        for transaction in over:
            self._fail(transaction.context, self._timed_out(transaction))
        self._advance(now)

    def next_timeout(self) -> Deadline | None:
        """Return when a request is to be sent again or given up."""
        return self._table.next_timeout()

    # -- inside --

    def _advance(self, now: float) -> None:
        while self._waiting and len(self._table) < self._config.max_outstanding:
            request = self._waiting.popleft()
            request.attempts += 1
            ask = request.ask
            message = Message(ask.method, _REQUEST, new_transaction_id(self._rng), list(ask.attributes))
            if self._config.software is not None and ask.method in _WITH_SOFTWARE:
                message.add(att.SOFTWARE, self._config.software)
            request.signed = self._auth.signed_for(ask.method)
            try:
                wire = request.signed.authenticator.serialize(message, self._config.fingerprint)
            except ValueError as error:
                # A server may have us echo a realm or a ticket that is longer than what may be sent.
                text = f"{ask.method.name} cannot be written as the server wants it: {error}"
                self._fail(request, TurnProtocolError(text, server=self._server))
                continue
            self.effects.append(self._table.start(message, wire, request.path, request, now))

    def _conclude(self, response: Message, transaction: Transaction[_Request[C]], now: float) -> None:
        request = transaction.context
        self._table.finish(transaction, now)
        if response.message_class is _ERROR:
            self._fail(request, self._error_of(response, request))
        elif unknown := response.unknown_required():
            codes = ", ".join(f"0x{code:04x}" for code in unknown)
            self._fail(request, TurnProtocolError(f"unknown attributes in the response: {codes}", server=self._server))
        else:
            self.outcomes.append(Outcome(request.ask.context, request.path, response))

    def _discard(self, response: Message, transaction: Transaction[_Request[C]], now: float) -> None:
        transaction.rejected_responses += 1
        transaction.context.discarded = response.error
        if transaction.path.protocol.is_stream:
            self._table.finish(transaction, now)
            self._fail(transaction.context, self._timed_out(transaction))

    def _refused(self, response: Message, request: _Request[C]) -> None:
        error = response.error
        nonce = response.get(att.NONCE)
        promised = features_of(nonce) if nonce is not None else SecurityFeature.NONE
        if SecurityFeature.PASSWORD_ALGORITHMS in promised and att.PASSWORD_ALGORITHMS not in response:
            text = "the challenge promises password algorithms and has none: somebody bids us down"
            self._fail(request, TurnDowngradeError(text, server=self._server, code=error.code if error else None))
        elif error is not None and error.code == 401 and self._may_wait(request):
            request.waited = True
            self._parked.append(request)
            self.wants_credentials = True
        else:
            self._fail(request, self._error_of(response, request))

    def _may_wait(self, request: _Request[C]) -> bool:
        return self._renewable and self._auth.is_renewable and not request.waited

    def _error_of(self, response: Message, request: _Request[C]) -> TurnError:
        error = response.error
        if error is None:
            return TurnProtocolError("an error response without ERROR-CODE", server=self._server)
        details: list[str] = []
        if error.code == 401 and request.signed.token is None:
            text = f"the server wants a user name and a password ({error})"
            if isinstance(request.signed.authenticator, ThirdPartyClient):
                text = f"the server takes no access tokens ({error})"
            elif not isinstance(request.signed.authenticator, Anonymous):
                text = f"the server's challenge offers nothing that we can sign with ({error})"
            return TurnCredentialsError(text, server=self._server, code=401)
        if error.code == 420:
            codes = response.get(att.UNKNOWN_ATTRIBUTES) or ()
            details.append("attributes " + ", ".join(f"0x{code:04x}" for code in codes))
        problem = error_of_code(error.code, error.reason, self._server, details)
        if isinstance(problem, TurnRedirectError):
            # The authenticator has checked the signature of what answers a signed request.
            problem.is_signed = request.signed.token is not None
            problem.alternates = tuple(response.get_all(att.ALTERNATE_SERVER))
            problem.domain = response.get(att.ALTERNATE_DOMAIN)
        return problem

    def _timed_out(self, transaction: Transaction[_Request[C]]) -> TurnError:
        if not transaction.rejected_responses:
            text = f"no response to {transaction.request.method.name} over {transaction.path.protocol}"
            return TurnTimeoutError(text, server=self._server)
        discarded = transaction.context.discarded
        hint = f"; one of them said {discarded}" if discarded is not None else ""
        text = f"integrity violated: no response was signed with our password{hint}"
        return TurnIntegrityError(text, server=self._server, code=discarded.code if discarded else None)

    def _fail(self, request: _Request[C], error: TurnError) -> None:
        self.outcomes.append(Outcome(request.ask.context, request.path, error=error))


_WITH_SOFTWARE = frozenset({Method.ALLOCATE, Method.REFRESH})
