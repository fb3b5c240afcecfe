"""The Binding server over UDP, TCP, TLS and DTLS (RFC 8489 sections 6.3.1, 11 and 12)."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any, Never

from stun import attributes as att
from stun.address import FiveTuple, TransportProtocol
from stun.attributes import Attribute
from stun.behaviour_server import BehaviourRules
from stun.config import BindingServerConfig
from stun.demux import is_stun
from stun.errors import StunFramingError, StunParseError
from stun.framing import StunStreamDecoder
from stun.machine import Deadline, Outbox, Release, Transmit
from stun.message import Message, MessageClass, Method, parse, parse_classic
from stun.rate_limit import RateLimiter, source_key

__all__ = ["BindingServer", "BindingServerStats"]

_BEHAVIOUR: frozenset[Attribute[Any]] = frozenset({att.CHANGE_REQUEST, att.PADDING, att.RESPONSE_PORT})
"""What only a server of RFC 5780 understands."""


@dataclass(slots=True)
class BindingServerStats:
    """What the server has done since it started."""

    responses: int = 0
    """Success responses."""
    errors: int = 0
    """Error responses."""
    unparsable: int = 0
    """Datagrams and messages that are no STUN, or are damaged."""
    ignored: int = 0
    """Indications, responses, and methods other than Binding."""
    limited: int = 0
    """Requests over the rate of their source."""
    too_long: int = 0
    """Responses that would have amplified a UDP request too much."""
    connections: int = 0
    """TCP connections accepted."""
    refused_connections: int = 0
    """TCP connections closed at once because there were too many."""
    broken_connections: int = 0
    """TCP connections closed for what was sent on them."""


@dataclass(slots=True)
class _Connection:
    source: str
    active: float
    decoder: StunStreamDecoder = field(default_factory=StunStreamDecoder)


class BindingServer:
    """Tells every client its reflexive address.

    It keeps nothing of a request: a retransmission is answered by computing the same response again (section 6.3.1
    allows that, Binding being idempotent). Credentials and ALTERNATE-SERVER are not used (section 12).
    """

    def __init__(self, config: BindingServerConfig | None = None, behaviour: BehaviourRules | None = None) -> None:
        """Args:
        config: what to answer, and limits.
        behaviour: answers RFC 5780 clients too; None refuses their attributes.
        """
        self.config = config or BindingServerConfig()
        self.stats = BindingServerStats()
        self._behaviour = behaviour
        self._outbox: Outbox[Transmit | Release, Never] = Outbox()
        self._limiter = RateLimiter(self.config.rate, self.config.burst, self.config.max_sources)
        # In the order of their last activity, so that the first one is the next to time out.
        self._connections: OrderedDict[FiveTuple, _Connection] = OrderedDict()
        self._per_source: Counter[str] = Counter()

    @property
    def open_connections(self) -> int:
        """TCP connections at this moment."""
        return len(self._connections)

    # -- inputs --

    def receive_datagram(self, data: bytes, path: FiveTuple, now: float) -> None:
        """Answer one request over UDP or DTLS. Never raises."""
        if path.remote.port == 0:
            self.stats.ignored += 1
            return
        if path.protocol is TransportProtocol.DTLS:
            self._receive_on_connection(data, path, now)
            return
        response = self._answer(data, path, now)
        if response is None:
            return
        # RFC 5780 demands four addresses in a response, so there only the rate protects a forged source.
        allowed = max(self.config.free_response, self.config.max_amplification * len(data))
        if self._behaviour is None and len(response.data) > allowed:
            self.stats.too_long += 1
            return
        self._outbox.effects.append(response)

    def path_opened(self, path: FiveTuple, now: float) -> None:
        """A client connected."""
        source = source_key(path.remote.host)
        full = len(self._connections) >= self.config.max_connections
        if full or self._per_source[source] >= self.config.max_connections_per_source:
            self.stats.refused_connections += 1
            self._outbox.effects.append(Release(path))
            return
        self.stats.connections += 1
        self._per_source[source] += 1
        self._connections[path] = _Connection(source, now, StunStreamDecoder(self.config.max_message))

    def receive_data(self, data: bytes, path: FiveTuple, now: float) -> None:
        """Answer the requests of a connection, in their order; ``b""`` is the client's end. Never raises."""
        connection = self._connections.get(path)
        if connection is None:
            return
        if not data:
            self._release(path)
            return
        try:
            messages = connection.decoder.receive(data)
        except StunFramingError:
            self.stats.broken_connections += 1
            self._release(path)
            return
        for message in messages:
            self._receive_on_connection(message, path, now)

    def path_closed(self, path: FiveTuple, now: float) -> None:
        """A connection is gone."""
        self._forget(path)

    def handle_timeout(self, now: float) -> None:
        """Close connections that have been silent for ``idle_timeout``."""
        while self._connections:
            path, connection = next(iter(self._connections.items()))
            if connection.active + self.config.idle_timeout > now:
                return
            self._release(path)

    # -- outputs --

    def next_effect(self) -> Transmit | Release | None:
        """Return the next response or connection to close, or None."""
        return self._outbox.next_effect()

    def next_event(self) -> None:
        """Return None: there is nothing to tell; see :attr:`stats`."""
        return

    def next_timeout(self) -> Deadline | None:
        """Return when the longest silent connection is to be closed."""
        for connection in self._connections.values():
            return Deadline(connection.active + self.config.idle_timeout, "idle connection")
        return None

    # -- inside --

    def _receive_on_connection(self, message: bytes, path: FiveTuple, now: float) -> None:
        connection = self._connections.get(path)
        if connection is None:
            return
        # Only a message shows that the connection is of use (a trickle of bytes does not keep it).
        connection.active = now
        self._connections.move_to_end(path)
        response = self._answer(message, path, now)
        if response is not None:
            self._outbox.effects.append(response)

    def _answer(self, data: bytes, path: FiveTuple, now: float) -> Transmit | None:
        try:
            request = parse(data) if is_stun(data) else self._parse_classic(data, path)
        except StunParseError:
            self.stats.unparsable += 1
            return None
        if request.message_class is not MessageClass.REQUEST or request.method is not Method.BINDING:
            self.stats.ignored += 1
            return None
        if not self._limiter.take(source_key(path.remote.host), now):
            self.stats.limited += 1
            return None
        fingerprint = self.config.fingerprint and request.has_fingerprint
        if self._behaviour is None or len(request.transaction_id) == 16:
            return Transmit(self._respond(request, path).serialize(fingerprint=fingerprint), path)
        answer = self._behaviour.respond(request, path, now)
        if answer is None:
            self.stats.limited += 1
            return None
        response, way = answer
        response.attributes += self._software()
        success = response.message_class is MessageClass.SUCCESS
        self.stats.responses += success
        self.stats.errors += not success
        return Transmit(response.serialize(fingerprint=fingerprint), way)

    def _parse_classic(self, data: bytes, path: FiveTuple) -> Message:
        # Section 11: RFC 3489 is not spoken over DTLS.
        if not self.config.classic or path.protocol is TransportProtocol.DTLS:
            raise StunParseError("RFC 3489 is not served")
        return parse_classic(data)

    def _respond(self, request: Message, path: FiveTuple) -> Message:
        software = self._software()
        unknown = request.unknown_required(_BEHAVIOUR)
        if unknown:
            self.stats.errors += 1
            return request.failure(420, "Unknown Attribute", (att.UNKNOWN_ATTRIBUTES, unknown), *software)
        self.stats.responses += 1
        if len(request.transaction_id) == 16:
            return request.success((att.MAPPED_ADDRESS, path.remote), *software)
        return request.success((att.XOR_MAPPED_ADDRESS, path.remote), *software)

    def _software(self) -> list[tuple[Attribute[Any], Any]]:
        return [] if self.config.software is None else [(att.SOFTWARE, self.config.software)]

    def _release(self, path: FiveTuple) -> None:
        self._forget(path)
        self._outbox.effects.append(Release(path))

    def _forget(self, path: FiveTuple) -> None:
        connection = self._connections.pop(path, None)
        if connection is None:
            return
        self._per_source[connection.source] -= 1
        if self._per_source[connection.source] <= 0:
            del self._per_source[connection.source]
