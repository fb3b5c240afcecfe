"""Client transactions: retransmission, giving up, and what is known of round trips (RFC 8489 section 6.2)."""

from __future__ import annotations

import random
from collections import OrderedDict
from typing import Final, Generic, TypeVar

from stun.address import FiveTuple
from stun.config import TransactionConfig
from stun.machine import Deadline, Transmit
from stun.message import Message, MessageClass

__all__ = ["RttCache", "Transaction", "TransactionTable", "new_transaction_id"]

_REQUEST: Final = MessageClass.REQUEST
_SUCCESS: Final = MessageClass.SUCCESS
_ERROR: Final = MessageClass.ERROR

T = TypeVar("T")


def new_transaction_id(rng: random.Random) -> bytes:
    """Return 12 uniform bytes (section 5); a driver's ``rng`` is a ``random.SystemRandom``."""
    return rng.randbytes(12)


class _RoundTrip:
    __slots__ = ("smoothed", "used", "variation")

    def __init__(self, smoothed: float, variation: float, used: float) -> None:
        self.smoothed = smoothed
        self.variation = variation
        self.used = used


class RttCache:
    """The retransmission timeouts of recently asked servers, computed as in RFC 6298 (section 6.2.1)."""

    def __init__(self, config: TransactionConfig) -> None:
        self._config = config
        self._entries: OrderedDict[str, _RoundTrip] = OrderedDict()

    def rto(self, host: str, now: float) -> float:
        """Return the initial RTO of a transaction that begins, in seconds; never less than the configured one."""
        entry = self._entries.get(host)
        if entry is None:
            return self._config.initial_rto
        if now - entry.used > self._config.rtt_cache_lifetime:
            del self._entries[host]
            return self._config.initial_rto
        entry.used = now
        return max(self._config.initial_rto, entry.smoothed + 4 * entry.variation)

    def note(self, host: str, sample: float, now: float) -> None:
        """Take one round trip of ``sample`` seconds, of a request that was sent exactly once (Karn's rule)."""
        entry = self._entries.pop(host, None)
        if entry is None:
            entry = _RoundTrip(sample, sample / 2, now)
        else:
            entry.variation = 0.75 * entry.variation + 0.25 * abs(entry.smoothed - sample)
            entry.smoothed = 0.875 * entry.smoothed + 0.125 * sample
            entry.used = now
        self._entries[host] = entry
        while len(self._entries) > self._config.rtt_cache_size:
            self._entries.popitem(last=False)


class Transaction(Generic[T]):
    """One request that waits for its response."""

    __slots__ = (
        "context",
        "deadline",
        "first_rto",
        "path",
        "rejected_responses",
        "request",
        "rto",
        "sends",
        "started",
        "wire",
    )

    def __init__(
        self, request: Message, wire: bytes, path: FiveTuple, context: T, started: float, rto: float, deadline: float
    ) -> None:
        self.request = request
        self.wire = wire
        """What is sent, the same bytes every time."""
        self.path = path
        self.context = context
        """Whatever the owner wants back with the response."""
        self.started = started
        self.rto = rto
        """Seconds between this send and the next one; doubles. The initial one is in ``first_rto``."""
        self.first_rto = rto
        self.deadline = deadline
        self.sends = 1
        self.rejected_responses = 0
        """Responses that were discarded for their integrity; then a time-out means *integrity violated* (9.1.4)."""


class TransactionTable(Generic[T]):
    """The outstanding transactions of one client.

    The owner puts the returned :class:`~stun.machine.Transmit` effects into its outbox.
    """

    def __init__(self, config: TransactionConfig | None = None, round_trips: RttCache | None = None) -> None:
        self.config = config or TransactionConfig()
        self.round_trips = round_trips or RttCache(self.config)
        self._open: dict[bytes, Transaction[T]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def start(self, request: Message, wire: bytes, path: FiveTuple, context: T, now: float) -> Transmit:
        """Open a transaction for ``request``, whose bytes are ``wire``, and return its first send.

        Raises:
            ValueError: the table is full, the id is in use, or ``request`` is none.
        """
        if len(self._open) >= self.config.max_outstanding:
            raise ValueError(f"{len(self._open)} transactions are already outstanding")
        if request.message_class is not _REQUEST or request.transaction_id in self._open:
            raise ValueError("a transaction needs a request with an id of its own")
        if path.protocol.is_stream:
            rto = wait = self.config.stream_timeout
        else:
            rto = self.round_trips.rto(path.remote.host, now)
            wait = rto if self.config.sends > 1 else rto * self.config.last_wait
        self._open[request.transaction_id] = Transaction(request, wire, path, context, now, rto, now + wait)
        return Transmit(wire, path)

    def match(self, response: Message, path: FiveTuple) -> Transaction[T] | None:
        """Return the transaction that ``response`` answers, which stays open; None when there is none on ``path``."""
        transaction = self._open.get(response.transaction_id)
        if transaction is None or transaction.path != path or transaction.request.method is not response.method:
            return None
        if response.message_class not in (_SUCCESS, _ERROR):
            return None
        return transaction

    def find(self, transaction_id: bytes) -> Transaction[T] | None:
        """Return the open transaction with this id, whatever path its response may take; None when there is none."""
        return self._open.get(transaction_id)

    def finish(self, transaction: Transaction[T], now: float) -> None:
        """Close a transaction that was answered, and learn its round trip if it was sent once."""
        if self._open.pop(transaction.request.transaction_id, None) is None:
            return
        if transaction.sends == 1 and not transaction.path.protocol.is_stream:
            self.round_trips.note(transaction.path.remote.host, max(0.0, now - transaction.started), now)

    def cancel(self, transaction_id: bytes) -> Transaction[T] | None:
        """Forget a transaction without an outcome."""
        return self._open.pop(transaction_id, None)

    def on_path(self, path: FiveTuple) -> list[Transaction[T]]:
        """Return the open transactions of one path."""
        return [transaction for transaction in self._open.values() if transaction.path == path]

    def handle_timeout(self, now: float) -> tuple[list[Transmit], list[Transaction[T]]]:
        """Return what is to be sent again, and the transactions that are over without an answer (they are closed)."""
        again: list[Transmit] = []
        over: list[Transaction[T]] = []
        for transaction in list(self._open.values()):
            if transaction.deadline > now:
                continue
            if transaction.path.protocol.is_stream or transaction.sends >= self.config.sends:
                del self._open[transaction.request.transaction_id]
                over.append(transaction)
                continue
            transaction.sends += 1
            transaction.rto *= 2
            last = transaction.sends >= self.config.sends
            wait = transaction.first_rto * self.config.last_wait if last else transaction.rto
            # A driver that is a little late must not stretch the schedule; after a suspend there must be no burst.
            base = transaction.deadline if now - transaction.deadline < wait else now
            transaction.deadline = base + wait
            again.append(Transmit(transaction.wire, transaction.path))
        return again, over

    def next_timeout(self) -> Deadline | None:
        """Return when the next retransmission or failure is due."""
        if not self._open:
            return None
        return Deadline(min(transaction.deadline for transaction in self._open.values()), "transaction")
