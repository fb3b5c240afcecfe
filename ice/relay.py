"""One TURN server that a session asks, and what asking it needs of the outside world (RFC 8445 section 5.1.1.2)."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from ice.candidate import Base, Candidate
from ice.config import IceConfig
from ice.events import CandidateErrorFound, ErrorStage
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.machine import Deadline
from turn.client import TurnClient
from turn.config import Credentials, RelayTransport, TurnServerConfig
from turn.errors import TurnAllocationMismatchError, TurnError, TurnRedirectError, TurnTimeoutError
from turn.redirect import Redirects

__all__ = [
    "ACTIVE_PORT",
    "FetchCredentials",
    "HostPermitted",
    "OpenLink",
    "Problems",
    "Relay",
    "RelayLost",
    "RelayNews",
    "RelayState",
    "RelayStats",
    "RelayTarget",
    "RelayedFound",
]


ACTIVE_PORT: Final = 9
"""The port of every active TCP candidate (RFC 6544 section 4.5)."""

_UNREACHABLE: Final = 701
"""The code of RTCPeerConnectionIceErrorEvent for a server that said nothing."""

_TCP: Final = RelayTransport.TCP


class RelayState(enum.StrEnum):
    """Where a server is in its service to one session."""

    CONNECTING = "connecting"
    """The way to it is being opened."""
    ALLOCATING = "allocating"
    """It was asked for an allocation."""
    ALLOCATED = "allocated"
    """It relays for us."""
    RELEASING = "releasing"
    """It was told that it is not needed any more."""
    RELEASED = "released"
    """It is not needed any more."""
    FAILED = "failed"
    """It does not relay for us, and the stats say why."""

    @property
    def is_pending(self) -> bool:
        """Whether a candidate may still come of it."""
        return self in (_CONNECTING, _ALLOCATING)


_CONNECTING: Final = RelayState.CONNECTING
_ALLOCATING: Final = RelayState.ALLOCATING


@dataclass(frozen=True, slots=True)
class RelayTarget:
    """One way to a server."""

    server: TransportAddress
    protocol: TransportProtocol
    server_name: str | None = None
    """What its certificate has to show."""


# -- effects, beside Transmit and Release on the way to a server --


@dataclass(frozen=True, slots=True)
class OpenLink:
    """Open a way to a server; answer with ``link_opened`` or ``link_failed``, at once or later."""

    number: int
    config: TurnServerConfig
    target: RelayTarget


@dataclass(frozen=True, slots=True)
class FetchCredentials:
    """Ask the provider of ``config`` for new credentials; answer with ``renew`` or ``renewal_failed``."""

    number: int
    config: TurnServerConfig
    server_name: str | None = None
    """For whom an access token is wanted (RFC 7635); None for a user name and a password."""


# -- what the agent has to know --


@dataclass(frozen=True, slots=True)
class RelayedFound:
    """There is a relayed candidate: a base of ours from now on."""

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class HostPermitted:
    """Checks may go from a relayed base to this host: the server lets its answers through."""

    base: Base
    host: str


@dataclass(frozen=True, slots=True)
class RelayLost:
    """A relayed base is gone, and why."""

    base: Base
    error: TurnError


RelayNews = RelayedFound | HostPermitted | RelayLost | CandidateErrorFound


@dataclass(frozen=True, slots=True)
class RelayStats:
    """One TURN server at one moment."""

    url: str
    server: str
    """Address and transport, ``host:port (protocol)``."""
    state: RelayState
    relayed: tuple[str, ...]
    """The relayed addresses, empty before and after the allocation."""
    error_code: int | None
    """Why there is no relay: the server's code, or 701 when it was not reached (RTCPeerConnectionIceErrorEvent)."""
    error_text: str
    dropped: int
    """Datagrams that the client of the server had no use for, or no permission for."""


class Relay:
    """One server: the way to it, the client on that way, the relayed bases it made."""

    __slots__ = (
        "_mismatches",
        "_redirects",
        "bases",
        "client",
        "config",
        "credentials",
        "error",
        "give_up_at",
        "number",
        "path",
        "release_at",
        "state",
        "target",
    )

    def __init__(
        self, number: int, config: TurnServerConfig, target: RelayTarget, credentials: Credentials | None
    ) -> None:
        self.number = number
        self.config = config
        # The configured name is that of the first server: one that it redirects to shows the name of the redirect.
        self.target = replace(target, server_name=config.server_name or target.server_name)
        self.credentials = credentials
        self.state = _CONNECTING
        self.client: TurnClient | None = None
        self.path: FiveTuple | None = None
        """The way to the server."""
        self.bases: dict[int, TransportAddress] = {}
        """The relayed addresses by their family."""
        self.give_up_at = 0.0
        """When it is not waited for any more."""
        self.release_at: float | None = None
        """When the allocation is given back, if it is known that nobody needs it."""
        self.error: CandidateErrorFound | None = None
        """Why it does not relay for us."""
        self._redirects = Redirects(config)
        self._mismatches = 0

    @property
    def name(self) -> str:
        """Which server, as errors name it."""
        return f"{self.config.url} ({self.target.server})"

    @property
    def is_tcp(self) -> bool:
        """Whether it is a TCP allocation (RFC 6062)."""
        return self.config.transport is _TCP

    def ends(self, family: int | None = None) -> list[Base]:
        """Return our bases at this relay: of TCP the one that peers connect to, and the one that connects to them."""
        addresses = [base for known, base in self.bases.items() if family in (None, known)]
        if not self.is_tcp:
            return [Base(address) for address in addresses]
        pairs = [(address, address._replace(port=ACTIVE_PORT)) for address in addresses]
        return [Base(end, TransportProtocol.TCP) for pair in pairs for end in pair]

    def open_link(self, now: float) -> OpenLink:
        """Return what opens the way to the current target."""
        self.state = _CONNECTING
        self.client = self.path = None
        self._redirects.asked(self.target.server, now)
        return OpenLink(self.number, self.config, self.target)

    def successor(self, give_up_at: float) -> Relay:
        """Return one that asks the same server anew, whatever this one has still to do."""
        successor = Relay(self.number, self.config, self.target, self.credentials)
        successor.target = self.target  # With the name that a redirect gave it.
        successor._redirects = self._redirects
        successor.give_up_at = give_up_at
        return successor

    def reachable(self, hosts: Iterable[str]) -> list[str]:
        """Return those of the peer's hosts that one of the relayed addresses can send to."""
        bases = self.bases.values()
        return [host for host in hosts if any(base.is_in_reach_of(TransportAddress(host, 0)) for base in bases)]

    def patience(self, grace_at: float | None) -> float:
        """Return when it is not waited for any more; ``grace_at`` is when none is that has yet to allocate."""
        return self.give_up_at if grace_at is None else min(self.give_up_at, grace_at)

    def overdue(self, waited: float) -> TurnError:
        """Return the error of a server that was waited for in vain, for so many seconds."""
        what = "no connection" if self.state is _CONNECTING else "no answer"
        return TurnTimeoutError(f"{what} within {waited:.1f} s", server=self.name)

    def deadlines(self, grace_at: float | None) -> Iterator[Deadline]:
        """Yield when something is to be done about it."""
        if self.state.is_pending:
            yield Deadline(self.patience(grace_at), "gathering from a TURN server")
        if self.release_at is not None:
            yield Deadline(self.release_at, "an allocation that is not needed")

    def try_again(self, error: TurnError, now: float) -> bool:
        """Whether a refused Allocate is to be tried another way; ``target`` is that way then.

        At the server that a signed 300 names, under the name that the 300 gives (RFC 8489 section 10), and from another
        port of ours when the server still has an allocation of somebody else for this one (437, RFC 8656 section 7.4).
        """
        if isinstance(error, TurnRedirectError):
            alternate = self._redirects.follow(error, now)
            if alternate is not None:
                self.target = RelayTarget(alternate, self.target.protocol, error.domain or self.target.server_name)
            return alternate is not None
        self._mismatches += 1
        return (
            isinstance(error, TurnAllocationMismatchError) and self._mismatches <= self.config.client.mismatch_retries
        )

    def stats(self) -> RelayStats:
        """Return a picture of now."""
        client = self.client
        return RelayStats(
            url=self.config.url,
            server=f"{self.target.server} ({self.target.protocol})",
            state=self.state,
            relayed=tuple(str(base) for base in self.bases.values()),
            error_code=None if self.error is None else self.error.error_code,
            error_text="" if self.error is None else self.error.error_text,
            dropped=0 if client is None else client.dropped + client.dropped_data,
        )


class Problems:
    """Puts what went wrong with servers into words for the application, and remembers it for the end."""

    __slots__ = ("_config", "texts")

    def __init__(self, config: IceConfig) -> None:
        self._config = config
        self.texts: tuple[str, ...] = ()
        """Why relayed candidates are missing or gone, oldest first; one a server at most."""

    def note(self, url: str, path: FiveTuple | None, stage: ErrorStage, error: TurnError) -> CandidateErrorFound:
        """Return the event for an error; ``path`` is the way to the server if there was one."""
        local = path.local if path is not None and self._config.shows_addresses else None
        if local is not None and local.ip.is_unspecified:
            local = None
        if stage is not ErrorStage.PERMISSION:
            self.texts += (str(error),)
        return CandidateErrorFound(
            url=url,
            address=None if local is None else local.host,
            port=None if local is None else local.port,
            error_code=_UNREACHABLE if error.code is None else error.code,
            error_text=str(error),
            stage=stage,
        )
