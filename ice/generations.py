"""The generations of a session: which one is current, which one carries data, what belongs to which (RFC 8445 9)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from ice.candidate import Candidate
from ice.config import IceConfig
from ice.description import Description, EndOfCandidates
from ice.generation import Generation
from ice.responder import ReceivedCheck
from ice.sources import AcceptedSources
from stun.address import TransportAddress
from stun.lazy_queue import LazyQueue
from stun.nothing import NO_ENTRIES, NO_ITEMS

__all__ = ["EarlyTrickle", "Generations"]


class EarlyTrickle:
    """Candidates, and ends of candidates, of generations whose description has not come yet (RFC 8838 section 9)."""

    __slots__ = ("_items", "_limit", "dropped")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: LazyQueue[tuple[str, Candidate | EndOfCandidates]] = NO_ITEMS
        self.dropped = 0
        """How many the limit cost; the oldest go first."""

    def __len__(self) -> int:
        return len(self._items)

    def add(self, ufrag: str, item: Candidate | EndOfCandidates) -> None:
        """Remember an item of the generation ``ufrag``."""
        if self._items is NO_ITEMS:
            self._items = LazyQueue()
        self._items.append((ufrag, item))
        if len(self._items) > self._limit:
            self.dropped += 1
            self._items.popleft()

    def take(self, ufrag: str) -> list[Candidate | EndOfCandidates]:
        """Return and forget the items of a generation whose description is there; others stay."""
        if not self._items:
            return []
        taken = [item for known, item in self._items if known == ufrag]
        if taken:
            self._items = LazyQueue(item for item in self._items if item[0] != ufrag)
        return taken


_NO_EARLY_TRICKLE: Final = EarlyTrickle(0)
"""That of the sessions to which nothing comes too early."""


class Generations:
    """The generations of one session, oldest first.

    Each of our descriptions belongs to exactly one of the peer's: the i-th of ours to its i-th. A side makes a new one
    when it restarts, which it cannot do while the peer has not answered the last, or when one of the peer's comes for
    which it has none yet. So two restarts that cross are one restart, and signalling that delivers every description
    once and in order, as RFC 8838 section 9 asks, leaves both sides with the same pairs of descriptions. Where answers
    may get lost, one that was told in vain is rolled back, and counts for nothing.

    Args:
        config: the limits.
        first: the first of them.
        sources: from whom data is accepted.
    """

    __slots__ = ("_config", "_past", "_sources", "current", "early", "kept", "rejected", "restarts")

    def __init__(self, config: IceConfig, first: Generation, sources: AcceptedSources) -> None:
        self._config = config
        self._sources = sources
        self.kept = [first]
        """All of them, to be looked at; the last is the current one."""
        self.current = first
        """The newest one: what is told to the peer and checked."""
        self._past: LazyQueue[str] = NO_ITEMS
        self.early = _NO_EARLY_TRICKLE
        """What came before the description that it belongs to; see :meth:`note_early`."""
        self.rejected: Mapping[str, int] = NO_ENTRIES
        """What forgotten generations had rejected."""
        self.restarts = 0
        """How many generations there were before the current one."""

    @property
    def carrying(self) -> Generation | None:
        """The one whose selected pair carries data, or None."""
        if len(self.kept) == 1:  # Most sessions never restart, and everything asks.
            only = self.kept[0]
            return only if only.checking.selected is not None else None
        carrying = (each for each in reversed(self.kept) if each.checking.selected is not None)
        return next(carrying, None)

    @property
    def is_restarting(self) -> bool:
        """Whether an older generation exists that the current one has yet to take over from."""
        return self.restarts > 0 and self.current.selected is None

    def begin(self, newest: Generation) -> Generation:
        """``newest`` is the current one from now on. What is neither in use nor the last before goes.

        Those that only answer stay as long as there is room: the peer may still be on their pair.
        """
        self.restarts += 1
        carrying, before = self.carrying, self.current
        idle = [each for each in self.kept if each not in (carrying, before) and not self._is_in_use(each)]
        answering = [each for each in idle if each.is_retired]
        room = self._config.max_generations - 1 - (len(self.kept) - len(idle))
        for generation in idle:
            if generation not in answering[max(len(answering) - room, 0) :]:
                self.forget(generation)
        self.kept.append(newest)
        self.current = newest
        return newest

    def roll_back(self, now: float) -> bool:
        """Return from a current one without a description of the peer's to the one before; False where there is none.

        It answers the peer's checks from now on, as those do that were superseded.
        """
        if self.current.remote is not None or len(self.kept) < 2:
            return False
        given_up = self.kept.pop()
        given_up.retire(now + self._config.consent_timeout)
        self.current = self.kept[-1]
        self.kept.insert(-1, given_up)
        self.restarts -= 1
        return True

    def supersede(self, newest: Generation, now: float) -> None:
        """``newest`` has selected a pair: those before it only answer, as long as the peer may still use them."""
        for generation in self.kept:
            if generation is newest:
                break
            if not generation.is_retired:
                # The peer may learn of the new pair later than we do; its consent to the old one lasts that long.
                generation.retire(now + self._config.consent_timeout)

    def drop_pair(self) -> None:
        """Stop using the pair in use, with nothing to take its place yet."""
        if (carrying := self.carrying) is not None:
            carrying.stop()

    def forget(self, generation: Generation) -> None:
        """Answer nothing of a generation any more, and accept no data that only it allowed."""
        self.kept.remove(generation)
        generation.stop()
        if generation.remote is not None:
            self._past = LazyQueue((*self._past, generation.remote.ufrag))
            if len(self._past) > self._config.max_past_generations:
                self._past.popleft()
        rejected = {reason.value: count for reason, count in generation.remotes.rejected.items()}
        self.rejected = Counter(self.rejected) + Counter(rejected)
        paths = {path for kept in self.kept for path in kept.checking.accepted}
        for path in set(generation.checking.accepted) - paths:
            self._sources.discard(path)

    def answered(self, retired: Generation, now: float) -> None:
        """The peer has checked an old pair and was answered, which lets it send there for that long (RFC 7675).

        libwebrtc, when controlled, stays on an old pair until data comes on the new one.
        """
        retired.forget_at = now + self._config.consent_timeout

    def handle_timeout(self, now: float) -> bool:
        """Forget those whose time is over, and return whether there were any."""
        before = len(self.kept)
        for generation in self.kept[:]:
            if generation.forget_at is None or now < generation.forget_at:
                continue
            if self._is_in_use(generation):
                generation.forget_at = now + self._config.consent_timeout
            else:
                self.forget(generation)
        return len(self.kept) < before

    def _is_in_use(self, generation: Generation) -> bool:
        """Whether the peer goes by this description of ours, and not by a newer, on the pair that carries data."""
        carrying = self.carrying
        username = None if carrying is None or carrying.selected is None else carrying.selected.username
        return username is not None and username.endswith(f":{generation.local.ufrag}")

    def next_timeout(self) -> float | None:
        """Return when :meth:`handle_timeout` is next wanted, or None."""
        return min((each.forget_at for each in self.kept if each.forget_at is not None), default=None)

    # -- what belongs to which --

    @property
    def peers(self) -> set[TransportAddress]:
        """The addresses of the peer in all of them: nothing goes to another, nor is anything taken from there."""
        known = (candidate.address for each in self.kept for candidate in each.remotes.all())
        return {address for address in known if isinstance(address, TransportAddress)}

    def note_early(self, ufrag: str, item: Candidate | EndOfCandidates) -> None:
        """Remember an item of the peer's generation ``ufrag``, whose description has not come yet."""
        if self.early is _NO_EARLY_TRICKLE:
            self.early = EarlyTrickle(self._config.max_early_candidates)
        self.early.add(ufrag, item)

    def of_local(self, ufrag: str) -> Generation | None:
        """Return the one that the peer's checks for our ``ufrag`` belong to, or None."""
        for generation in self.kept:
            if generation.local.ufrag == ufrag:
                return generation
        return None

    def meant_by(self, check: ReceivedCheck, generation: Generation) -> Generation | None:
        """Return whose pairs a check belongs to that was authenticated by ``generation``, or None while it is early.

        It is the peer's fragment that says it. A peer that restarts may check our old candidates before it has our new
        description, with the new credentials of its own and the old ones of ours, and before its description is here.
        """
        if generation.remote is not None and generation.remote.ufrag == check.peer_ufrag:
            return generation
        return self.of_peer(check.peer_ufrag)

    def early_checks(self, ufrag: str) -> list[ReceivedCheck]:
        """Return and forget the checks that came before the peer's description ``ufrag``, to whichever of ours."""
        return [check for generation in self.kept for check in generation.early.take(ufrag)]

    @property
    def latest(self) -> Generation:
        """The one whose description of the peer came last; the current one while there is none."""
        for generation in reversed(self.kept):
            if generation.remote is not None:
                return generation
        return self.current

    def of_peer(self, ufrag: str | None) -> Generation | None:
        """Return the one that a candidate of the peer belongs to, or None if its description has not come.

        One that names no generation belongs to the description that came last (RFC 8838 section 9).
        """
        if ufrag is None:
            return self.latest
        for generation in self.kept:
            if generation.remote is not None and generation.remote.ufrag == ufrag:
                return generation
        return None

    def is_past(self, ufrag: str) -> bool:
        """Whether the peer's generation ``ufrag`` has been forgotten."""
        return ufrag in self._past

    def knows(self, description: Description) -> bool:
        """Whether the peer's description came before."""
        return self.is_past(description.ufrag) or any(each.remote == description for each in self.kept)
