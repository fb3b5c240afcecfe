"""multistream-select 1.0.0 without I/O: a dialer that proposes, a listener that answers.

Both are byte-stream machines: effects are bytes to send, and exactly one event ends the negotiation. What arrived
behind it belongs to the protocol and rides in the event.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from signalling.errors import DecodeError
from signalling.libp2p.config import MultistreamConfig
from signalling.libp2p.wire import DelimitedReader, delimit
from stun.machine import Deadline, Outbox

__all__ = ["Dialer", "Failed", "Listener", "Negotiated", "encode_token"]

_HEADER = "/multistream/1.0.0"
_REFUSED = "na"
_LIST = "ls"


@dataclass(frozen=True, slots=True)
class Negotiated:
    """Event: both sides agreed."""

    protocol: str
    received: bytes
    """What arrived behind the negotiation, already in the agreed protocol."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Event: no agreement; the stream is of no further use."""

    reason: str


def encode_token(text: str) -> bytes:
    """Return one token as it stands on the wire: length, text, newline."""
    return delimit(text.encode() + b"\n")


def _encode_list(protocols: Iterable[str]) -> bytes:
    """Return the answer to ``ls``: one token whose text is the protocols as tokens."""
    return delimit(b"".join(map(encode_token, protocols)) + b"\n")


class _Negotiation(Outbox[bytes, Negotiated | Failed]):
    """What both sides share: cutting tokens, the header, the deadline and the end."""

    __slots__ = ("_config", "_deadline", "_done", "_greeted", "_reader")

    def __init__(self, config: MultistreamConfig, now: float) -> None:
        super().__init__()
        self._config = config
        self._reader = DelimitedReader(config.max_token)
        self._greeted = False
        self._done = False
        self._deadline = Deadline(now + config.timeout, "multistream-select")

    @property
    def done(self) -> bool:
        """Whether the negotiation ended, one way or the other."""
        return self._done

    def receive_data(self, data: bytes, now: float) -> None:
        """Take what arrived; ``b""`` is the end of the stream. Ignored once the negotiation ended."""
        if self._done:
            return
        if not data:
            self._fail("the peer closed the stream")
            return
        self._reader.feed(data)
        while not self._done:
            try:
                message = self._reader.next_message()
                if message is None:
                    return
                if not message.endswith(b"\n"):
                    raise DecodeError("a token lacks its newline")
                token = message[:-1].decode()
            except (DecodeError, UnicodeDecodeError) as error:
                self._fail(str(error))
                return
            self._receive_token(token)

    def _receive_token(self, token: str) -> None:
        if self._greeted:
            self._receive_answer(token)
        elif token == _HEADER:
            self._greeted = True
            self._greet()
        else:
            self._fail("the peer does not speak multistream-select 1.0.0")

    def _greet(self) -> None:
        """Take the peer's header."""

    def _receive_answer(self, token: str) -> None:
        raise NotImplementedError

    def handle_timeout(self, now: float) -> None:
        """Fail when the negotiation has taken too long."""
        if not self._done and now >= self._deadline.at:
            self._fail(f"no agreement within {self._config.timeout:g} s")

    def next_timeout(self) -> Deadline | None:
        """When the negotiation fails by itself."""
        return None if self._done else self._deadline

    def _agree(self, protocol: str) -> None:
        self._done = True
        self.events.append(Negotiated(protocol, self._reader.take_rest()))

    def _fail(self, reason: str) -> None:
        self._done = True
        self.events.append(Failed(reason))


class Dialer(_Negotiation):
    """Proposes protocols, best first; the header and the first proposal leave in one flight.

    A caller that *knows* the peer's protocols may send the payload of ``protocols[0]`` right behind that flight; it is
    lost when the peer refuses after all.
    """

    __slots__ = ("_index", "_protocols")

    def __init__(self, protocols: Sequence[str], now: float, config: MultistreamConfig | None = None) -> None:
        """Propose ``protocols`` in order.

        Raises:
            ValueError: none are given, or one cannot be a token.
        """
        super().__init__(config or MultistreamConfig(), now)
        if not protocols:
            raise ValueError("there is nothing to propose")
        for protocol in protocols:
            if not protocol or "\n" in protocol or protocol in (_HEADER, _REFUSED, _LIST):
                raise ValueError(f"{protocol!r} cannot be proposed")
        self._protocols = tuple(protocols)
        self._index = 0
        self.effects.append(encode_token(_HEADER) + encode_token(self._protocols[0]))

    def _receive_answer(self, token: str) -> None:
        if token == self._protocols[self._index]:
            self._agree(token)
        elif token != _REFUSED:
            self._fail(f"the peer answered {token[:80]!r} to {self._protocols[self._index]!r}")
        elif self._index + 1 == len(self._protocols):
            self._fail(f"the peer speaks none of {', '.join(self._protocols)}")
        else:
            self._index += 1
            self.effects.append(encode_token(self._protocols[self._index]))


class Listener(_Negotiation):
    """Answers proposals: echoes a protocol that is supported, ``na`` to every other one, the list to ``ls``.

    ``/libp2p/simultaneous-connect`` is such an other one: roles come from who dialled.
    """

    __slots__ = ("_proposals", "_supported")

    def __init__(self, supported: Collection[str], now: float, config: MultistreamConfig | None = None) -> None:
        """Accept any of ``supported`` (which is looked at, not copied)."""
        super().__init__(config or MultistreamConfig(), now)
        self._supported = supported
        self._proposals = 0

    def _greet(self) -> None:
        self.effects.append(encode_token(_HEADER))

    def _receive_answer(self, token: str) -> None:
        self._proposals += 1
        if self._proposals > self._config.max_proposals:
            self._fail("the peer proposed too many protocols")
        elif token == _LIST:
            self.effects.append(_encode_list(self._supported))
        elif token in self._supported:
            self.effects.append(encode_token(token))
            self._agree(token)
        else:
            self.effects.append(encode_token(_REFUSED))
