"""Offers and answers of a data-only peer connection (RFC 8829 sections 4.1 and 5): whose turn it is, what may be said.

The first exchange makes the connection, later ones restart ICE (RFC 8839 section 4.4.1.1.1) and change nothing else. No
I/O, no clock. Offers that cross are settled by one rule: that of the side which made the first offer stands, the other
side takes its own back. Credentials of an offer that was taken back are not told again, since the peer may have
answered them and we never heard; and what is older than the last description that was taken, by its version, is passed
over. So two sides that lost step find it again with the next restart. What a peer says that cannot be raises SdpError,
leaves everything as it was, and is counted.
"""

from __future__ import annotations

import enum
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from ice import Description
from webrtc_bridge.config import SctpConfig
from webrtc_bridge.errors import SdpError
from webrtc_bridge.sdp import DataDescription, Fingerprint, SdpType, Setup, parse, serialize
from webrtc_bridge.states import SignalingState

__all__ = ["OfferAnswer", "Taken", "first_words"]


class Taken(enum.Enum):
    """What a description of the other side comes to."""

    FIRST = enum.auto()
    """It is the first: the connection can be made."""
    RESTART = enum.auto()
    """It has other credentials: it restarts ICE, or answers a restart."""
    SAME = enum.auto()
    """It says again what is known, candidates apart."""
    PASSED_OVER = enum.auto()
    """It is not for now: it crossed our offer, which stands, or answers none."""


def first_words(
    side: SdpType, local: Description, fingerprint: Fingerprint, sctp: SctpConfig, rng: random.Random
) -> DataDescription:
    """Return what our first description says, candidates and the peer's choices apart; ``rng`` must be a CSPRNG."""
    return DataDescription(
        type=side,
        ufrag=local.ufrag,
        pwd=local.pwd,
        fingerprints=(fingerprint,),
        setup=Setup.ACTPASS,
        tls_id=f"{rng.getrandbits(192):048x}",
        sctp_port=sctp.port,
        max_message_size=sctp.max_message_size,
        session_id=rng.getrandbits(62),
    )


class OfferAnswer:
    """The exchange of descriptions of one peer connection."""

    def __init__(
        self, own: DataDescription, counters: Counter[str], *, max_description: int, max_past: int = 32
    ) -> None:
        """Args:
        own: what our first description says; the certificate and the data section stay, see :func:`first_words`.
        counters: where refused and passed-over descriptions are counted, by reason.
        max_description: characters of a description that is read.
        max_past: how many of the peer's earlier user name fragments are remembered, so that none comes twice.
        """
        self.side = own.type
        self.state = SignalingState.STABLE
        self.remote: DataDescription | None = None
        """The last description of the other side that was taken."""
        self._own = own
        self._counters = counters
        self._max_description = max_description
        self._past: deque[str] = deque(maxlen=max_past)
        self._setup: Setup | None = None
        self._told: Description | None = None
        self._offered: Description | None = None
        self._answered: tuple[Description, str] | None = None
        self._to_answer = Taken.FIRST
        self._version = -1
        self._last: DataDescription | None = None

    @property
    def is_made(self) -> bool:
        """Whether the first exchange is over, so that others may follow."""
        return self._told is not None

    @property
    def setup(self) -> Setup:
        """Our DTLS role, of the first exchange (RFC 8842 section 5.2 and 5.3); ACTPASS while the peer has to choose."""
        if self._setup is not None:
            return self._setup
        return Setup.ACTPASS if self.side is SdpType.OFFER else Setup.ACTIVE

    @property
    def remote_ice(self) -> Description:
        """What the last description of the other side says of ICE.

        Raises:
            RuntimeError: there is none.
        """
        told = self.remote
        if told is None:
            raise RuntimeError("the other side has said nothing yet")
        return Description(
            told.ufrag, told.pwd, lite=told.ice_lite, options=told.ice_options, pacing=told.ice_pacing / 1000
        )

    @property
    def may_offer(self) -> bool:
        """Whether an offer of ours may be made: none of the other side's waits for our answer."""
        return self.state is not SignalingState.HAVE_REMOTE_OFFER

    def place(self) -> tuple[str, int]:
        """Return mid and index of the data section (RFC 8829 section 5.3.1: those of the offer)."""
        return ("0", 0) if self.remote is None else (self.remote.mid, self.remote.index)

    @property
    def _knows_tls_id(self) -> bool:
        return self.remote is not None and self.remote.tls_id is not None

    # ---------------------------------------------------------------- ours

    def offer(self, local: Description, candidates: Sequence[str], ended: bool) -> str:
        """Return an offer with these credentials; one that is not answered yet is replaced.

        Raises:
            RuntimeError: the other side makes the first offer, or has made one that is not answered yet.
        """
        if self.side is SdpType.ANSWER and self.remote is None:
            raise RuntimeError("this side of the connection answers")
        if not self.may_offer:
            raise RuntimeError("there is an offer of the other side to be answered")
        self.state = SignalingState.HAVE_LOCAL_OFFER
        self._offered = local
        return self._write(SdpType.OFFER, local, candidates, ended)

    def answer(self, local: Description, candidates: Sequence[str], ended: bool) -> str:
        """Return the answer to the peer's offer, also again with more candidates.

        Raises:
            RuntimeError: there is no offer to answer.
        """
        if self.remote is None or (self.side is SdpType.OFFER and self._to_answer is Taken.FIRST):
            raise RuntimeError("an answer needs an offer from the other side")
        if self.state is SignalingState.HAVE_LOCAL_OFFER:
            raise RuntimeError("there is an offer of ours to be answered")
        is_again = self.state is SignalingState.STABLE or self._to_answer is Taken.SAME
        if is_again and self._told is not None and self._told != local:
            # A restart of ours waits for an offer of its own: this answer has what the last one had.
            local, candidates, ended = self._told, (), False
        # An offer of ours goes on waiting for its answer when the peer's restarted nothing: perhaps it was told twice.
        self.state = SignalingState.STABLE if self._offered is None else SignalingState.HAVE_LOCAL_OFFER
        self._told = local
        if self._answered is None or self._answered[0] != local or self._offered is None:
            self._answered = local, self._write(SdpType.ANSWER, local, candidates, ended)
        return self._answered[1]  # The same as before where an offer of ours is newer: it is not to look like the last.

    def take_back(self) -> None:
        """Forget our offer: nobody answers it (the rollback of RFC 8829 section 4.1.10.2)."""
        if self.state is SignalingState.HAVE_LOCAL_OFFER and self.is_made:
            self.state = SignalingState.STABLE
            self._offered = None

    def _write(self, kind: SdpType, local: Description, candidates: Sequence[str], ended: bool) -> str:
        mid, index = self.place()
        described = replace(
            self._own,
            type=kind,
            ufrag=local.ufrag,
            pwd=local.pwd,
            setup=Setup.ACTPASS if kind is SdpType.OFFER else self.setup,
            tls_id=self._own.tls_id if kind is SdpType.OFFER or self._knows_tls_id else None,
            ice_lite=local.lite,
            ice_options=local.options,
            ice_pacing=round(local.pacing * 1000),
            mid=mid,
            index=index,
            candidates=tuple(candidates),
            end_of_candidates=ended,
            rejected=() if self.remote is None else self.remote.rejected,
        )
        if described != self._last:
            self._last = described
            self._version += 1  # RFC 8829 section 5.2.2
        return serialize(replace(described, session_version=self._version))

    # ---------------------------------------------------------------- the other side's

    def take(self, text: str, kind: SdpType | None, admits: Callable[[], bool]) -> Taken:
        """Take a description of the other side; :attr:`remote` is the last one that was not passed over.

        Args:
            text: the description.
            kind: what it is; None takes it for what is due.
            admits: asked whether one more restart that the peer begins may be followed now.

        Raises:
            SdpError: it cannot be used.
            RuntimeError: an answer came before our first offer was made.
        """
        if kind is None:
            is_due = self.state is SignalingState.HAVE_LOCAL_OFFER or (
                self.remote is None and self.side is SdpType.OFFER
            )
            kind = SdpType.ANSWER if is_due else SdpType.OFFER
        if kind is SdpType.ANSWER and self.state is not SignalingState.HAVE_LOCAL_OFFER:
            if self.remote is None and self.side is SdpType.OFFER:
                raise RuntimeError("an answer needs an offer of ours")
            return self._pass_over("answer to no offer")
        try:
            told = parse(text, kind, self._max_description)
            if self.remote is None:
                return self._take_first(told)
            if _is_overtaken(told, self.remote):
                return self._pass_over("description that a later one has overtaken")
            self._check(told, self.remote)
            if kind is SdpType.ANSWER:
                return self._take_answer(told, self.remote)
            return self._take_offer(told, self.remote, admits)
        except SdpError:
            self._counters["refused description"] += 1
            raise

    def _pass_over(self, reason: str) -> Taken:
        self._counters[reason] += 1
        return Taken.PASSED_OVER

    def _take_first(self, told: DataDescription) -> Taken:
        if told.type is self.side:
            return self._pass_over("offer that crossed ours")
        self.remote = told
        if told.type is SdpType.ANSWER:
            self._setup = Setup.ACTIVE if told.setup is Setup.PASSIVE else Setup.PASSIVE
            self.state, self._told, self._offered = SignalingState.STABLE, self._offered, None
        else:
            self._setup = Setup.PASSIVE if told.setup is Setup.ACTIVE else Setup.ACTIVE
            self.state = SignalingState.HAVE_REMOTE_OFFER
        return Taken.FIRST

    def _check(self, told: DataDescription, before: DataDescription) -> None:
        """Refuse what would change more than ICE: the connection of DTLS and the association on it go on."""
        if set(told.fingerprints) != set(before.fingerprints):
            raise SdpError("a later description has another certificate")
        if told.tls_id != before.tls_id:
            raise SdpError("a later description wants another DTLS association")
        if (told.sctp_port, told.mid, told.index) != (before.sctp_port, before.mid, before.index):
            raise SdpError("a later description has another data section")
        theirs = Setup.PASSIVE if self.setup is Setup.ACTIVE else Setup.ACTIVE
        if told.setup not in (Setup.ACTPASS, theirs):
            raise SdpError("a later description changes the DTLS roles")
        if (told.ufrag == before.ufrag) is not (told.pwd == before.pwd):
            raise SdpError("a restart has to change both user name fragment and password")

    def _take_answer(self, told: DataDescription, before: DataDescription) -> Taken:
        restarts = self._offered != self._told
        if told.ufrag in self._past or (restarts and told.ufrag == before.ufrag):
            # That of an offer before, which was told twice; a peer that knows no restarts is found out by the clock.
            return self._pass_over("answer without the restart")
        if not restarts and told.ufrag != before.ufrag:
            self.take_back()
            raise SdpError("the answer restarts ICE and the offer does not")
        self.state, self._told, self._offered = SignalingState.STABLE, self._offered, None
        self._follow(told)
        return Taken.RESTART if restarts else Taken.SAME

    def _take_offer(self, told: DataDescription, before: DataDescription, admits: Callable[[], bool]) -> Taken:
        if self.state is SignalingState.HAVE_LOCAL_OFFER and self.side is SdpType.OFFER:
            return self._pass_over("offer that crossed ours")
        if told.ufrag == before.ufrag:
            if self.state is not SignalingState.HAVE_REMOTE_OFFER:  # else the offer that is to be answered, once more
                self._to_answer = Taken.SAME
        elif self.state is SignalingState.HAVE_REMOTE_OFFER:
            raise SdpError("another restart before the last one was answered")
        elif told.ufrag in self._past:
            raise SdpError("a restart with the credentials of an earlier one")
        elif not admits():
            raise SdpError("too many ICE restarts")
        else:
            self._to_answer = Taken.RESTART
            if self._offered is not None:
                self._counters["offer of ours that was taken back"] += 1
                self._offered = None
        self.state = SignalingState.HAVE_REMOTE_OFFER
        self._follow(told)
        return Taken.SAME if told.ufrag == before.ufrag else Taken.RESTART

    def _follow(self, told: DataDescription) -> None:
        if self.remote is not None and told.ufrag != self.remote.ufrag:
            self._past.append(self.remote.ufrag)
        self.remote = told


def _is_overtaken(told: DataDescription, last: DataDescription) -> bool:
    """Whether a description is older than the last one of the same session (RFC 8829 section 5.2.2)."""
    return told.session_id == last.session_id and told.session_version < last.session_version
