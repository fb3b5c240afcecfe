"""One ICE generation: what one pair of descriptions brings about (RFC 8445 section 9, RFC 8839 section 4.4.1.1)."""

from __future__ import annotations

import random

from ice.candidate import Candidate
from ice.checking import Checking
from ice.checklist_set import ChecklistSet
from ice.checks import Credentials
from ice.config import IceConfig
from ice.consent import Consent
from ice.description import Description
from ice.lite import LiteChecking
from ice.local import LocalCandidates
from ice.pair import CandidatePair
from ice.remote import RemoteCandidates
from ice.responder import NO_EARLY_CHECKS, EarlyChecks, ReceivedCheck, Responder
from ice.roles import RoleKeeper
from ice.sources import AcceptedSources
from ice.tcp import TcpPaths

__all__ = ["Generation"]


class Generation:
    """Both sides' credentials, the peer's candidates, the checks that they allow, and the consent to what came of them.

    Our bases and candidates, the relays, the role and the sockets outlive it.
    """

    __slots__ = (
        "announced",
        "checking",
        "consent",
        "credentials",
        "early",
        "forget_at",
        "local",
        "remote",
        "remotes",
        "responder",
    )

    def __init__(
        self,
        config: IceConfig,
        local: Description,
        candidates: LocalCandidates,
        roles: RoleKeeper,
        sources: AcceptedSources,
        tcp: TcpPaths,
        rng: random.Random,
        together: ChecklistSet,
    ) -> None:
        self.local = local
        """Our credentials."""
        self.remote: Description | None = None
        """The peer's, once known."""
        self.credentials: Credentials | None = None
        """What our requests are signed with, once the peer's are known."""
        self.remotes = RemoteCandidates(config, rng, candidates.component)
        kind = LiteChecking if local.lite else Checking
        self.checking: Checking = kind(config, candidates, self.remotes, roles, sources, tcp, rng, together)
        self.responder = Responder(local, roles)
        self.early = NO_EARLY_CHECKS
        """Checks that came before the peer's description of this generation; see :meth:`note_early`."""
        self.consent: Consent | None = None
        """To the selected pair, if there is one."""
        self.announced: tuple[Candidate, ...] = ()
        """Our candidates that the peer was told with these credentials."""
        self.forget_at: float | None = None
        """When the peer's checks of this generation are not answered any more; set when a newer one has a pair."""

    @property
    def selected(self) -> CandidatePair | None:
        """The pair in use, or None."""
        return self.checking.selected

    @property
    def is_retired(self) -> bool:
        """Whether a newer generation carries the session: nothing is sent here but answers."""
        return self.forget_at is not None

    @property
    def is_given_up(self) -> bool:
        """Whether our description was rolled back before the peer's came."""
        return self.forget_at is not None and self.remote is None

    def note_early(self, check: ReceivedCheck, limit: int) -> None:
        """Remember a check for the peer's description, one of at most ``limit``."""
        if self.early is NO_EARLY_CHECKS:
            self.early = EarlyChecks(limit)
        self.early.add(check)

    def attach(self, description: Description) -> None:
        """Take the peer's description: checks may be sent."""
        self.remote = description
        self.remotes.ufrag = description.ufrag
        self.credentials = Credentials(self.local.ufrag, description.ufrag, description.pwd)
        self.checking.start(self.credentials, self.local, description)

    def begin_consent(self, pair: CandidatePair, now: float) -> None:
        """A pair was selected: its check was the first consent (RFC 7675 section 5.1)."""
        assert self.credentials is not None
        self.consent = self.checking.consent_to(pair, self.credentials, now)

    def stop(self) -> None:
        """Send nothing more, and use no pair any more; checks of the peer are still answered."""
        self.checking.stop()
        self.consent = None

    def retire(self, forget_at: float) -> None:
        """A newer generation carries the session."""
        self.stop()
        self.forget_at = forget_at
