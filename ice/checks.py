"""Sending connectivity checks and judging their answers (RFC 8445 section 7.2)."""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Iterator
from typing import Final

from ice.config import IceConfig
from ice.pair import CandidatePair
from ice.priority import peer_reflexive_priority
from ice.retransmission import Retransmission, Step
from ice.roles import Role, RoleKeeper
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.integrity import short_term_key
from stun.machine import Transmit
from stun.message import Message, MessageClass, Method
from stun.nothing import NO_ENTRIES
from stun.transaction import new_transaction_id

__all__ = ["Check", "CheckClient", "CheckResult", "Credentials", "Outcome", "binding_request"]

_REQUEST: Final = MessageClass.REQUEST
_ERROR: Final = MessageClass.ERROR
_BINDING: Final = Method.BINDING
_CONTROLLING: Final = Role.CONTROLLING


class Outcome(enum.StrEnum):
    """How a check ended."""

    SUCCEEDED = "succeeded"
    ROLE_CONFLICT = "role conflict"
    """487: the peer has our role."""
    ASYMMETRIC = "answered from another address"
    """Section 7.2.5.2.1: the response took another path than the request."""
    REFUSED = "refused"
    """Another error response, or a success that makes no sense."""
    TIMED_OUT = "timed out"


_SUCCEEDED: Final = Outcome.SUCCEEDED


class Credentials:
    """What our requests are signed with and the peer's responses are checked by (section 7.2.2)."""

    __slots__ = ("key", "username")

    def __init__(self, local_ufrag: str, remote_ufrag: str, remote_pwd: str) -> None:
        self.username = f"{remote_ufrag}:{local_ufrag}"
        self.key = short_term_key(remote_pwd)


def binding_request(
    transaction_id: bytes,
    pair: CandidatePair,
    credentials: Credentials,
    roles: RoleKeeper,
    use_candidate: bool,
    nomination: int = 0,
) -> bytes:
    """Return the bytes of one check on ``pair`` (section 7.1); a ``nomination`` over 0 numbers the nomination."""
    attribute = att.ICE_CONTROLLING if roles.role is _CONTROLLING else att.ICE_CONTROLLED
    request = Message(
        _BINDING,
        _REQUEST,
        transaction_id,
        [
            (att.USERNAME, pair.username or credentials.username),
            (att.PRIORITY, peer_reflexive_priority(pair.local.priority, pair.path.protocol)),
            (attribute, roles.tiebreaker),
        ],
    )
    if use_candidate:
        request.add(att.USE_CANDIDATE, True)
    if nomination:
        request.add(att.NOMINATION, nomination)
    return request.serialize(credentials.key, fingerprint=True)


class Check:
    """One transaction on one pair."""

    __slots__ = ("cancelled", "data", "nominates", "nomination", "pair", "retransmission", "role", "started_at")

    def __init__(
        self,
        pair: CandidatePair,
        data: bytes,
        role: Role,
        nominates: bool,
        nomination: int,
        started_at: float,
        retransmission: Retransmission,
    ) -> None:
        self.pair = pair
        self.data = data
        """The request, the same bytes at every send."""
        self.role = role
        """The role that the request claims."""
        self.nominates = nominates
        """Whether it carries USE-CANDIDATE."""
        self.nomination = nomination
        """Its NOMINATION, or 0."""
        self.started_at = started_at
        self.retransmission = retransmission
        self.cancelled = False
        """Not sent any more and no failure when it ends, but an answer still counts (section 7.3.1.4)."""


class CheckResult:
    """How one check ended."""

    __slots__ = ("check", "latency", "mapped", "outcome")

    def __init__(
        self,
        check: Check,
        outcome: Outcome,
        mapped: TransportAddress | None = None,
        latency: float | None = None,
    ) -> None:
        self.check: Final = check
        self.outcome: Final = outcome
        self.mapped: Final = mapped
        """XOR-MAPPED-ADDRESS, when the check succeeded."""
        self.latency: Final = latency
        """The round trip in seconds, when it is unambiguous."""


class CheckClient:
    """The outstanding checks of one session."""

    __slots__ = ("_by_id", "_config", "_credentials", "_rng", "_roles", "unauthenticated")

    def __init__(self, config: IceConfig, credentials: Credentials, roles: RoleKeeper, rng: random.Random) -> None:
        self._config = config
        self._credentials = credentials
        self._roles = roles
        self._rng = rng
        self._by_id: dict[bytes, Check] = NO_ENTRIES
        self.unauthenticated = 0
        """Responses dropped because their integrity was missing or wrong."""

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, transaction_id: object) -> bool:
        return transaction_id in self._by_id

    def start(
        self,
        pair: CandidatePair,
        nominates: bool,
        crowded_rto: float,
        now: float,
        *,
        nomination: int = 0,
        schedule: tuple[int, int] | None = None,
    ) -> Transmit:
        """Begin a check on ``pair`` and return its first send.

        ``crowded_rto`` is ``Ta * N * (Waiting + In-Progress)``, the least retransmission timeout (section 14.3).
        ``schedule`` is Rc and Rm (RFC 8489 section 6.2.1) where they are not those of the configuration.
        """
        config = self._config
        transaction_id = new_transaction_id(self._rng)
        data = binding_request(transaction_id, pair, self._credentials, self._roles, nominates, nomination)
        if pair.path.protocol.is_stream:  # Sent once (RFC 8489 section 6.2.2).
            retransmission = Retransmission(now, config.tcp.check_timeout, max_sends=1, final_wait=1)
        else:
            rto = max(config.rto, crowded_rto)
            retransmission = Retransmission(now, rto, *(schedule or (config.max_sends, config.final_wait)))
        check = Check(pair, data, self._roles.role, nominates, nomination, now, retransmission)
        if self._by_id is NO_ENTRIES:
            self._by_id = {}
        self._by_id[transaction_id] = check
        pair.last_check_at = now
        pair.requests_sent += 1
        return Transmit(data, pair.path)

    def username_on(self, pair: CandidatePair) -> str:
        """Return what checks on ``pair`` say in USERNAME."""
        return pair.username or self._credentials.username

    @property
    def own_username(self) -> str:
        """What checks say in USERNAME where the peer's checks have not said otherwise."""
        return self._credentials.username

    def pair_of(self, transaction_id: bytes) -> CandidatePair | None:
        """Return the pair of an outstanding check, or None."""
        check = self._by_id.get(transaction_id)
        return None if check is None else check.pair

    def cancel(self, pair: CandidatePair, *, nominations: bool = True) -> None:
        """Send the checks on ``pair`` no more, ``nominations`` among them; an answer still counts (section 7.3.1.4)."""
        for check in self._by_id.values():
            if check.pair is pair and (nominations or not check.nominates):
                check.cancelled = True

    def retain(self, wanted: Callable[[CandidatePair], bool]) -> None:
        """Drop the checks on pairs that are not ``wanted``: nothing that arrives for them counts."""
        self._by_id = {key: check for key, check in self._by_id.items() if wanted(check.pair)} or NO_ENTRIES

    def clear(self) -> None:
        """Drop all checks."""
        self._by_id.clear()

    def receive(self, response: Message, path: FiveTuple, now: float) -> CheckResult | None:
        """Judge a response; None when it is dropped as if it had never come (RFC 8489 section 9.1.4)."""
        check = self._by_id.get(response.transaction_id)
        if check is None or not response.verify_integrity(self._credentials.key):
            self.unauthenticated += 1
            return None
        del self._by_id[response.transaction_id]
        if not self._by_id:
            self._by_id = NO_ENTRIES  # An emptied dictionary keeps its room.
        check.pair.responses_received += 1
        if path != check.pair.path:
            return CheckResult(check, Outcome.ASYMMETRIC)
        if response.message_class is _ERROR:
            error = response.error
            conflict = error is not None and error.code == 487
            return CheckResult(check, Outcome.ROLE_CONFLICT if conflict else Outcome.REFUSED)
        mapped = response.get(att.XOR_MAPPED_ADDRESS)
        if mapped is None or response.unknown_required() or mapped.family != path.local.family or not mapped.port:
            return CheckResult(check, Outcome.REFUSED)
        latency = now - check.started_at if check.retransmission.sends == 1 else None
        return CheckResult(check, _SUCCEEDED, mapped, latency)

    def handle_timeout(self, now: float) -> Iterator[Transmit | CheckResult]:
        """Yield the sends that are due and the checks that ran out of them."""
        for transaction_id, check in list(self._by_id.items()):
            step = check.retransmission.advance(now)
            if step is Step.FAIL:
                self._by_id.pop(transaction_id, None)
                if not check.cancelled:
                    yield CheckResult(check, Outcome.TIMED_OUT)
            elif step is Step.SEND and not check.cancelled:
                check.pair.last_check_at = now
                check.pair.requests_sent += 1
                yield Transmit(check.data, check.pair.path)
        if not self._by_id:
            self._by_id = NO_ENTRIES

    def next_timeout(self) -> float | None:
        """Return when :meth:`handle_timeout` is next wanted, or None."""
        return min([check.retransmission.at for check in self._by_id.values()]) if self._by_id else None
