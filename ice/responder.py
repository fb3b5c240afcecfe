"""Answering the peer's connectivity checks (RFC 8445 section 7.3, RFC 8489 section 9.1.3)."""

from __future__ import annotations

from typing import Final

from ice.description import Description
from ice.roles import Conflict, Role, RoleKeeper
from stun import attributes as att
from stun.address import FiveTuple
from stun.integrity import Integrity, short_term_key
from stun.message import Message
from stun.nothing import NO_ENTRIES

__all__ = ["NO_EARLY_CHECKS", "Answer", "EarlyChecks", "ReceivedCheck", "Responder"]

_ROLE_CONFLICT: Final = 487
"""RFC 8445 section 16.2."""

_REFUSE: Final = Conflict.REFUSE
_YIELD: Final = Conflict.YIELD
_SHA1: Final = Integrity.SHA1
_SHA256: Final = Integrity.SHA256
_CONTROLLING: Final = Role.CONTROLLING
_CONTROLLED: Final = Role.CONTROLLED


class ReceivedCheck:
    """A check of the peer that authenticated and was answered with success, or refused for its role alone."""

    __slots__ = (
        "answer_size",
        "is_refused",
        "nomination",
        "our_ufrag",
        "path",
        "peer_ufrag",
        "priority",
        "size",
        "use_candidate",
    )

    def __init__(
        self,
        path: FiveTuple,
        priority: int,
        use_candidate: bool,
        peer_ufrag: str,
        nomination: int = 0,
        size: int = 0,
        answer_size: int = 0,
        our_ufrag: str = "",
        is_refused: bool = False,
    ) -> None:
        self.path: Final = path
        self.priority: Final = priority
        """PRIORITY: what a peer-reflexive candidate learned from this check gets."""
        self.use_candidate: Final = use_candidate
        """Whether the controlling peer nominates the pair, with USE-CANDIDATE or NOMINATION."""
        self.peer_ufrag: Final = peer_ufrag
        """The second half of USERNAME: the generation of the peer that sends."""
        self.nomination: Final = nomination
        """Which of the peer's nominations this is, if it numbers them; 0 if not."""
        self.size: Final = size
        """Bytes of the request."""
        self.answer_size: Final = answer_size
        """Bytes of the answer to it."""
        self.our_ufrag: Final = our_ufrag
        """The first half of USERNAME: which of our descriptions the peer goes by."""
        self.is_refused: Final = is_refused
        """Whether the answer was 487: it shows that the peer tries this path, and nothing else."""


class Answer:
    """What a request led to."""

    __slots__ = ("check", "data", "switched")

    def __init__(self, data: bytes, check: ReceivedCheck | None = None, switched: bool = False) -> None:
        self.data: Final = data
        """The response to send back where the request came from."""
        self.check: Final = check
        """Set when the response is a success, or 487."""
        self.switched: Final = switched
        """Whether the request made us change our role."""


class Responder:
    """Authenticates and answers Binding requests. It keeps no state, so a retransmission gets the same answer."""

    __slots__ = ("_key", "_local", "_roles")

    def __init__(self, local: Description, roles: RoleKeeper) -> None:
        self._local = local
        self._key = short_term_key(local.pwd)
        self._roles = roles

    def answer(self, request: Message, path: FiveTuple, size: int = 0) -> Answer:
        """Return the response to a parsed Binding request of ``size`` bytes that came along ``path``."""
        username = request.get(att.USERNAME)
        integrity = request.integrity
        if username is None or integrity is None:
            return Answer(request.failure(400, "Bad Request").serialize(fingerprint=True))
        ours, _, theirs = username.partition(":")
        if ours != self._local.ufrag or not theirs or not request.verify_integrity(self._key):
            return Answer(request.failure(401, "Unauthenticated").serialize(fingerprint=True))
        # RFC 8489 section 9.1.3: the response is signed with the variant that the request had, the stronger if both.
        variant = _SHA1 if integrity is _SHA1 else _SHA256
        refusal, switched = self._refusal(request)
        is_conflict = refusal is not None and refusal.error is not None and refusal.error.code == _ROLE_CONFLICT
        if refusal is not None and not is_conflict:
            return Answer(refusal.serialize(self._key, True, variant))
        response = refusal or request.success((att.XOR_MAPPED_ADDRESS, path.remote))
        nomination = request.get(att.NOMINATION) or 0
        nominates = nomination > 0 or att.USE_CANDIDATE in request  # libwebrtc sends one or the other.
        data = response.serialize(self._key, True, variant)
        check = ReceivedCheck(
            path=path,
            priority=request.get(att.PRIORITY) or 1,
            use_candidate=nominates and self._roles.role is _CONTROLLED and not is_conflict,
            peer_ufrag=theirs,
            nomination=0 if is_conflict else nomination,
            size=size,
            answer_size=len(data),
            our_ufrag=ours,
            is_refused=is_conflict,
        )
        return Answer(data, check, switched)

    def _refusal(self, request: Message) -> tuple[Message | None, bool]:
        """Return the error for a request that authenticated, or None, and whether our role changed."""
        unknown = request.unknown_required()
        if unknown:
            return request.failure(420, "Unknown Attribute", (att.UNKNOWN_ATTRIBUTES, unknown)), False
        if request.get(att.PRIORITY) is None:
            return request.failure(400, "Bad Request"), False
        for role, attribute in ((_CONTROLLING, att.ICE_CONTROLLING), (_CONTROLLED, att.ICE_CONTROLLED)):
            tiebreaker = request.get(attribute)
            if tiebreaker is None:
                continue
            verdict = self._roles.judge(role, tiebreaker)
            if verdict is _REFUSE:
                return request.failure(_ROLE_CONFLICT, "Role Conflict"), False
            if verdict is _YIELD:
                self._roles.switch()
                return None, True
            break
        return None, False


class EarlyChecks:
    """Checks that were answered before the peer's description was known; they are processed later (section 7.3)."""

    __slots__ = ("_by_path", "_limit", "dropped")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_path: dict[FiveTuple, ReceivedCheck] = NO_ENTRIES
        self.dropped = 0
        """How many the limit cost."""

    def __len__(self) -> int:
        return len(self._by_path)

    def add(self, check: ReceivedCheck) -> None:
        """Remember a check; of several on one path a nomination is kept, else the last that was not refused."""
        if self._by_path is NO_ENTRIES:
            self._by_path = {}
        known = self._by_path.get(check.path)
        if known is None and len(self._by_path) >= self._limit:
            self.dropped += 1
        elif known is None or (not check.is_refused and _is_worth_more(check, known)):
            self._by_path[check.path] = check

    def take(self, peer_ufrag: str) -> list[ReceivedCheck]:
        """Return and forget the checks of the generation ``peer_ufrag``; others are dropped."""
        checks = [check for check in self._by_path.values() if check.peer_ufrag == peer_ufrag]
        self.dropped += len(self._by_path) - len(checks)
        self._by_path = NO_ENTRIES
        return checks


def _is_worth_more(check: ReceivedCheck, known: ReceivedCheck) -> bool:
    return not known.use_candidate or check.nomination > known.nomination


NO_EARLY_CHECKS: Final = EarlyChecks(0)
"""Those of a generation that none have come for, which is most."""
