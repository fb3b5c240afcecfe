"""What the two sides tell each other besides candidates: credentials and options (RFC 8445 section 5.3, 8839 5.4)."""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass
from typing import Final

from ice.config import IceConfig
from ice.errors import CandidateError

__all__ = ["DEFAULT_PACING", "Description", "EndOfCandidates", "generate_description"]

_ICE_CHARS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
# Wider than the RFC's ice-char: deployed endpoints (libp2p's WebRTC Direct among them) use more of printable ASCII.
# A colon would break the USERNAME of checks.
_TOKEN: Final = re.compile(r"[!-9;-~]{4,256}\Z")


DEFAULT_PACING: Final = 0.05
"""What a side proposes that says nothing (RFC 8445 section 14.2)."""
_OPTIONS: Final = ("trickle", "ice2")
_WITH_RENOMINATION: Final = (*_OPTIONS, "renomination")


@dataclass(frozen=True, slots=True)
class Description:
    """The credentials and options of one side for one ICE generation.

    Raises:
        CandidateError: the fragment or the password breaks RFC 8839 section 5.4 (4..256 and 22..256 characters), or
            ``pacing`` is no number of seconds.
    """

    ufrag: str
    """The user name fragment; the peer's checks begin with it."""
    pwd: str
    """The password that authenticates checks sent to this side."""
    lite: bool = False
    """Whether this side is ICE-lite: it answers checks and sends none (RFC 8445 section 2.5)."""
    options: tuple[str, ...] = _OPTIONS
    """The ice-options (RFC 8839 section 5.6)."""
    pacing: float = DEFAULT_PACING
    """The Ta that this side proposes, in seconds (``ice-pacing``, RFC 8839 section 5.5); the slower of both is kept."""

    def __post_init__(self) -> None:
        if not _TOKEN.match(self.ufrag):
            raise CandidateError(f"bad ice-ufrag of {len(self.ufrag)} characters")
        if not 0.0 <= self.pacing < math.inf:
            raise CandidateError(f"bad ice-pacing: {self.pacing}")
        if len(self.pwd) < 22 or not _TOKEN.match(self.pwd):
            raise CandidateError(f"bad ice-pwd of {len(self.pwd)} characters")

    @property
    def trickles(self) -> bool:
        """Whether this side can send candidates after its description (RFC 8838 section 3)."""
        return "trickle" in self.options

    def __repr__(self) -> str:  # the password stays out of logs
        return f"Description(ufrag={self.ufrag!r}, lite={self.lite}, options={self.options})"


@dataclass(frozen=True, slots=True)
class EndOfCandidates:
    """No more candidates come for the generation that ``ufrag`` names (RFC 8838 section 13)."""

    ufrag: str


def generate_description(config: IceConfig, rng: random.Random) -> Description:
    """Return fresh credentials: ``rng`` must be a CSPRNG outside of tests (RFC 8445 section 5.3)."""
    return Description(
        ufrag=_token(config.ufrag_length, rng),
        pwd=_token(config.pwd_length, rng),
        lite=config.lite.enabled,
        options=_WITH_RENOMINATION if config.upgrade.renomination else _OPTIONS,
        # A lite side sends no checks, so that it has no pace to propose (RFC 8839 section 4.3.1).
        pacing=DEFAULT_PACING if config.lite.enabled else config.ta,
    )


def _token(length: int, rng: random.Random) -> str:
    bits = rng.getrandbits(6 * length)  # One question to the kernel, where one for each of 64 characters would do too.
    return "".join([_ICE_CHARS[bits >> place & 63] for place in range(0, 6 * length, 6)])
