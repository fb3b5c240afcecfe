"""A small TURN server to test the client against, and a stage with virtual time on which both meet.

It grants what it is asked for, and can be told to answer the next requests of a method otherwise. It shares the
authentication of ``stun.auth_server`` with the real server, and nothing else.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from stun import attributes as att
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.auth_server import Authenticated, LongTermServer, LongTermServerConfig, Refused, StaticCredentials
from stun.errors import StunParseError
from stun.machine import Release, Transmit
from stun.message import Message, MessageClass, Method, parse
from stun.values import AddressErrorCode, AddressFamily, Icmp, PasswordAlgorithm
from turn.client import TurnClient
from turn.config import CredentialProvider, Credentials, TurnClientConfig, TurnServerConfig
from turn.errors import TurnError
from turn.events import AllocationFailed, AllocationLost, TurnEvent

CLIENT = TransportAddress("192.0.2.1", 1000)
SERVER = TransportAddress("198.51.100.1", 3478)
PATH = FiveTuple(CLIENT, SERVER)
STREAM = FiveTuple(CLIENT, SERVER, TransportProtocol.TCP)
PEER = TransportAddress("203.0.113.5", 5000)
RELAYED = TransportAddress("198.51.100.1", 50000)
RELAYED6 = TransportAddress("2001:db8::1", 50001)
MODERN = (PasswordAlgorithm.SHA256, PasswordAlgorithm.MD5)


@dataclass
class Refusal:
    """A scripted answer: an error code, perhaps without a signature or with more attributes."""

    code: int
    extra: list[tuple[att.Attribute[object], object]] = field(default_factory=list)
    signed: bool = True


class FakeServer:
    """Answers the requests of one client; takes ``silence`` requests without a word."""

    def __init__(
        self,
        users: Mapping[str, str] | None = None,
        algorithms: tuple[PasswordAlgorithm, ...] = MODERN,
        nonce_lifetime: float = 1e9,
        lifetime: int = 600,
    ) -> None:
        self.users = dict(users or {"maria": "secret"})
        self.lifetime = lifetime
        self.families = {4: RELAYED, 6: RELAYED6}
        self.refusals: dict[Method, deque[Refusal]] = {}
        self.mute: set[Method] = set()
        """Methods whose requests get no answer at all."""
        self.requests: list[Message] = []
        self.indications: list[Message] = []
        self.channel_data: list[bytes] = []
        self.open = False
        """Whether anybody is let in, without a signature."""
        self.echo = False
        """Whether every peer sends everything back."""
        self.connection_id: int | None = 0x1234
        self.tickets = 0
        self.ticket = b""
        """What every ticket is, instead of a new one each time."""
        self.granted_usernames: list[str] = []
        anonymity = bool(algorithms)
        self.auth_config = LongTermServerConfig(
            realm="example.org", algorithms=algorithms, username_anonymity=anonymity, nonce_lifetime=nonce_lifetime
        )
        self.set_users(self.users)

    def set_users(self, users: Mapping[str, str]) -> None:
        """From now on these are the users; nonces stay good."""
        rng = random.Random(1)
        self.auth = LongTermServer(self.auth_config, StaticCredentials(self.auth_config.realm, users), rng)

    def refuse(self, method: Method, *refusals: Refusal | int) -> None:
        """Answer the next requests of a method with errors."""
        queue = self.refusals.setdefault(method, deque())
        queue.extend(Refusal(item) if isinstance(item, int) else item for item in refusals)

    def count(self, method: Method) -> int:
        """How many requests of a method have come."""
        return sum(request.method is method for request in self.requests)

    def receive(self, data: bytes, client: TransportAddress, now: float) -> list[bytes]:
        """Take a message and return the answers."""
        if data[0] >= 0x40:
            self.channel_data.append(data)
            return [data] if self.echo else []
        message = parse(data)
        if message.message_class is MessageClass.INDICATION:
            self.indications.append(message)
            peer, payload = message.get(att.XOR_PEER_ADDRESS), message.get(att.DATA)
            return [data_indication(peer, payload)] if self.echo and peer and payload is not None else []
        self.requests.append(message)
        if message.method in self.mute:
            return []
        if self.open:
            return [self._grant(message, client).serialize()]
        outcome = self.auth.check(message, client, now)
        if isinstance(outcome, Refused):
            return [] if outcome.response is None else [outcome.response.serialize()]
        self.granted_usernames.append(outcome.username)
        queue = self.refusals.get(message.method)
        if queue:
            return [_refusal(message, queue.popleft(), outcome)]
        return [outcome.sign(self._grant(message, client))]

    def _grant(self, request: Message, client: TransportAddress) -> Message:
        if request.method is Method.ALLOCATE:
            return self._allocate(request, client)
        if request.method is Method.REFRESH:
            asked = request.get(att.LIFETIME)
            response = request.success((att.LIFETIME, self.lifetime if asked is None else min(asked, self.lifetime)))
            return self._with_ticket(request, response)
        if request.method is Method.CONNECT:
            number = self.connection_id
            return request.success() if number is None else request.success((att.CONNECTION_ID, number))
        return request.success()

    def _allocate(self, request: Message, client: TransportAddress) -> Message:
        wanted = [4]
        if request.get(att.REQUESTED_ADDRESS_FAMILY) == AddressFamily.IPV6:
            wanted = [6]
        elif att.ADDITIONAL_ADDRESS_FAMILY in request:
            wanted = [4, 6]
        response = request.success()
        for family in wanted:
            if family in self.families:
                response.add(att.XOR_RELAYED_ADDRESS, self.families[family])
            else:
                response.add(att.ADDRESS_ERROR_CODE, AddressErrorCode(1 if family == 4 else 2, 440, "No"))
        response.add(att.XOR_MAPPED_ADDRESS, client).add(att.LIFETIME, self.lifetime)
        if request.get(att.EVEN_PORT):
            response.add(att.RESERVATION_TOKEN, b"reserved")
        return self._with_ticket(request, response)

    def _with_ticket(self, request: Message, response: Message) -> Message:
        if att.MOBILITY_TICKET in request:
            self.tickets += 1
            response.add(att.MOBILITY_TICKET, self.ticket or b"ticket %d" % self.tickets)
        return response


def _refusal(request: Message, refusal: Refusal, who: Authenticated) -> bytes:
    response = request.failure(refusal.code, "No", *refusal.extra)
    return who.sign(response) if refusal.signed else response.serialize()


def data_indication(peer: TransportAddress, data: bytes) -> bytes:
    """Return a Data indication."""
    message = Message(Method.DATA, MessageClass.INDICATION, bytes(12))
    return message.add(att.XOR_PEER_ADDRESS, peer).add(att.DATA, data).serialize()


def icmp_indication(peer: TransportAddress, icmp: Icmp) -> bytes:
    """Return a Data indication with an ICMP error."""
    message = Message(Method.DATA, MessageClass.INDICATION, bytes(12))
    return message.add(att.XOR_PEER_ADDRESS, peer).add(att.ICMP, icmp).serialize()


class Stage:
    """One client and the server, without a network between them."""

    def __init__(
        self,
        server: FakeServer | None = None,
        path: FiveTuple = PATH,
        credentials: Credentials | None = None,
        tuning: TurnClientConfig | None = None,
        provider: CredentialProvider | None = None,
        **settings: object,
    ) -> None:
        self.server = server or FakeServer()
        self.now = 0.0
        given: dict[str, object] = {
            "url": "turn:turn.example.org",
            "client": tuning or TurnClientConfig(keepalive=None),
        }
        if provider is not None:
            given["credentials"] = provider
        elif "username" not in settings:
            given |= {"username": "maria", "password": "secret"}
        config = TurnServerConfig(**(given | settings))  # type: ignore[arg-type]
        self.client = TurnClient(config, path, random.Random(5), credentials)
        self.events: list[TurnEvent] = []
        self.sent: list[bytes] = []
        """Everything that the client has sent."""
        self.replies = 0
        self.released: list[FiveTuple] = []
        self.lose = False
        """Whether the network swallows what the client sends."""

    def pump(self) -> None:
        """Carry messages to and fro until all is quiet."""
        while True:
            while (effect := self.client.next_effect()) is not None:
                if isinstance(effect, Release):
                    self.released.append(effect.path)
                    continue
                assert isinstance(effect, Transmit)
                self.sent.append(effect.data)
                if self.lose:
                    continue
                for reply in self.server.receive(effect.data, effect.path.local, self.now):
                    self.replies += 1
                    self.feed(reply, effect.path)
            if (event := self.client.next_event()) is None:
                return
            self.events.append(event)

    def feed(self, data: bytes, path: FiveTuple | None = None) -> None:
        """Give the client a message."""
        path = path or self.client.path
        if path.protocol.is_stream:
            self.client.receive_data(data, path, self.now)
        else:
            self.client.receive_datagram(data, path, self.now)

    def run(self, until: float) -> None:
        """Let time pass, from deadline to deadline."""
        self.pump()
        while (deadline := self.client.next_timeout()) is not None and deadline.at <= until:
            assert deadline.at >= self.now - 1e-9, "a deadline in the past that handle_timeout did not settle"
            self.now = max(self.now, deadline.at)
            self.client.handle_timeout(self.now)
            self.pump()
        self.now = until

    def start(self) -> Stage:
        """Allocate."""
        self.client.start(self.now)
        self.pump()
        return self

    def of(self, *kinds: type) -> list[TurnEvent]:
        """Return the events of these kinds."""
        return [event for event in self.events if isinstance(event, kinds)]

    def methods(self) -> list[str]:
        """Return what the client has sent, in words."""
        return [_name(data) for data in self.sent]


def _name(data: bytes) -> str:
    if data[0] >= 0x40:
        return "data"
    try:
        message = parse(data)
    except StunParseError:
        return "?"
    return f"{message.method.name}{'' if message.message_class is MessageClass.REQUEST else '-indication'}"


def failure(stage: Stage) -> TurnError:
    (event,) = stage.of(AllocationFailed)
    assert isinstance(event, AllocationFailed)
    return event.error


def loss(stage: Stage) -> TurnError:
    (event,) = stage.of(AllocationLost)
    assert isinstance(event, AllocationLost)
    return event.error
