"""Authentication, the client's side: short-term and long-term credentials (RFC 8489 sections 9.1 and 9.2).

An :class:`Authenticator` dresses the requests of one client towards one server and judges the responses. It holds what
the server told it (realm, nonce, algorithms), so every further request is dressed right at once.
"""

from __future__ import annotations

import enum
from typing import Final, Protocol

from stun import attributes as att
from stun.integrity import Integrity, long_term_key, opaque_string, short_term_key, userhash
from stun.message import Message, MessageClass
from stun.nonce import SecurityFeature, features_of
from stun.values import PasswordAlgorithm, PasswordAlgorithmChoice

__all__ = ["Anonymous", "Authenticator", "LongTermClient", "ShortTermClient", "Verdict"]

_SHA1: Final = Integrity.SHA1
_SHA256: Final = Integrity.SHA256
_ERROR: Final = MessageClass.ERROR
_NONE: Final = SecurityFeature.NONE
_PASSWORD_ALGORITHMS: Final = SecurityFeature.PASSWORD_ALGORITHMS


class Verdict(enum.Enum):
    """What a client does with a response."""

    ACCEPT = enum.auto()
    """It is genuine, success or error."""
    RETRY = enum.auto()
    """Send the request again as a new transaction; the authenticator has learnt what the server wants."""
    DISCARD = enum.auto()
    """As if it had never arrived over UDP; over a stream the transaction fails at once as *integrity violated*."""
    REFUSED = enum.auto()
    """The credentials do not do, or the server (or a meddler) offers nothing that we may use: do not retry."""


_ACCEPT: Final = Verdict.ACCEPT


class Authenticator(Protocol):
    """Dresses requests and judges their responses.

    A client keeps the ``token`` of the moment it serialized a request, for :meth:`judge`: several requests may be under
    way when the server changes its mind.
    """

    @property
    def token(self) -> bytes | None:
        """What a request serialized now will be signed under (the nonce, or b"" without one); None when unsigned."""

    def serialize(self, request: Message, fingerprint: bool) -> bytes:
        """Return the request's bytes with the credentials' attributes; ``request`` itself is not changed."""

    def judge(self, response: Message, token: bytes | None) -> Verdict:
        """Judge the parsed response to a request that was serialized under ``token``."""


class Anonymous:
    """No credentials: what the Binding usage normally has."""

    @property
    def token(self) -> bytes | None:
        """Always None."""
        return None

    def serialize(self, request: Message, fingerprint: bool) -> bytes:
        """Return the plain request."""
        return request.serialize(fingerprint=fingerprint)

    def judge(self, response: Message, token: bytes | None) -> Verdict:
        """Accept everything."""
        return _ACCEPT


class ShortTermClient:
    """A user name and password for one session, as ICE has them (section 9.1)."""

    def __init__(self, username: str, password: str, integrity: Integrity = Integrity.BOTH) -> None:
        """Args:
        username: USERNAME.
        password: the key, after OpaqueString.
        integrity: BOTH until the server's algorithm is known, which its first response tells.

        Raises:
            ValueError: the user name or the password is no OpaqueString, or the name has 509 bytes or more.
        """
        self.integrity = integrity
        """What the next request carries."""
        self._username = opaque_string(username)
        _check_sendable(self._username)
        self._key = short_term_key(password)

    @property
    def token(self) -> bytes | None:
        """Always b"": every request is signed, and there is no nonce."""
        return b""

    def serialize(self, request: Message, fingerprint: bool) -> bytes:
        """Return the signed request."""
        dressed = _with(request, (att.USERNAME, self._username))
        return dressed.serialize(self._key, fingerprint, self.integrity)

    def judge(self, response: Message, token: bytes | None) -> Verdict:
        """Accept what is signed with the algorithm that we used (section 9.1.4)."""
        got = response.integrity
        if got is None or (self.integrity is not Integrity.BOTH and got is not self.integrity):
            return Verdict.DISCARD
        if got is Integrity.BOTH:
            got = _SHA256
        if not response.verify_integrity(self._key, got):
            return Verdict.DISCARD
        self.integrity = got
        return _ACCEPT


class LongTermClient:
    """A user name and password for many sessions, asked for by a server's challenge (section 9.2)."""

    def __init__(self, username: str, password: str, max_challenges: int = 5, max_offer: int = 256) -> None:
        """Args:
        username: the user's name, before OpaqueString.
        password: the user's password, before OpaqueString.
        max_challenges: how many challenges in a row to follow; a server that finds every nonce stale is given up.
        max_offer: bytes of PASSWORD-ALGORITHMS that are echoed; who offers more is refused, because a request has to
            fit a datagram (section 6.1). Two algorithms take 8.

        A name or password that is no OpaqueString, and a name of 509 bytes or more, is REFUSED with the challenge.
        """
        self._username = username
        self._password = password
        self._max_challenges = max_challenges
        self._max_offer = max_offer
        self._prepared = ""
        self._challenges = 0
        self._realm: str | None = None
        self._nonce = b""
        self._offered: tuple[PasswordAlgorithmChoice, ...] = ()
        self._choice: PasswordAlgorithmChoice | None = None
        self._key = b""
        self._anonymous = False

    @property
    def token(self) -> bytes | None:
        """The nonce, or None before the first challenge."""
        return None if self._realm is None else self._nonce

    @property
    def realm(self) -> str | None:
        """The realm that the server named, or None before the first challenge."""
        return self._realm

    @property
    def algorithm(self) -> PasswordAlgorithm | None:
        """The hash of the password that the server has asked for; None when it leaves that to RFC 5389, hence MD5."""
        return None if self._choice is None else PasswordAlgorithm(self._choice.algorithm)

    @property
    def key(self) -> bytes:
        """The key that requests are signed with; empty before the first challenge."""
        return self._key

    def serialize(self, request: Message, fingerprint: bool) -> bytes:
        """Return the request: bare before the first challenge (9.2.3.1), signed after it (9.2.3.2)."""
        if self._realm is None:
            return request.serialize(fingerprint=fingerprint)
        dressed = _with(request)
        if self._anonymous:
            dressed.add(att.USERHASH, userhash(self._prepared, self._realm))
        else:
            dressed.add(att.USERNAME, self._prepared)
        dressed.add(att.REALM, self._realm).add(att.NONCE, self._nonce)
        if self._choice is None:
            return dressed.serialize(self._key, fingerprint, _SHA1)
        dressed.add(att.PASSWORD_ALGORITHMS, self._offered).add(att.PASSWORD_ALGORITHM, self._choice)
        return dressed.serialize(self._key, fingerprint, _SHA256)

    def judge(self, response: Message, token: bytes | None) -> Verdict:
        """Follow challenges and check signatures (section 9.2.5)."""
        nonce = response.get(att.NONCE)
        promised = features_of(nonce) if nonce is not None else _NONE
        stripped = _PASSWORD_ALGORITHMS in promised and att.PASSWORD_ALGORITHMS not in response
        error = response.error if response.message_class is _ERROR else None
        if error is not None and error.code in (401, 438):
            if stripped:
                return Verdict.REFUSED  # a promise of algorithms without the algorithms is somebody bidding us down
            if token != self.token:
                return Verdict.RETRY  # another request's response has brought the newer challenge already
            return self._challenged(response, error.code, nonce, promised)
        if stripped:
            return Verdict.DISCARD
        if token is not None:
            wanted = _SHA1 if self._choice is None else _SHA256
            if not response.verify_integrity(self._key, wanted):
                return Verdict.DISCARD
            self._challenges = 0
        return _ACCEPT

    def _challenged(self, response: Message, code: int, nonce: bytes | None, promised: SecurityFeature) -> Verdict:
        realm = response.get(att.REALM)
        if realm is None and code == 438:
            realm = self._realm
        if realm is None or nonce is None or len(realm) > _MAX_REALM:
            return Verdict.REFUSED  # sections 14.9 and 14.10: longer ones are read, and must not be sent
        if code == 401 and realm == self._realm:
            return Verdict.REFUSED  # the same credentials would only be refused again
        self._challenges += 1
        if self._challenges > self._max_challenges:
            return Verdict.REFUSED
        offered = response.get(att.PASSWORD_ALGORITHMS)
        if offered is not None and sum(4 + len(one.parameters) for one in offered) > self._max_offer:
            return Verdict.REFUSED
        choice = _choose(offered) if offered is not None else None
        if offered is not None and choice is None:
            return Verdict.REFUSED
        if self._choice is not None and choice is None:
            return Verdict.REFUSED  # algorithms were there before; without them this is a bid-down too
        algorithm = PasswordAlgorithm.MD5 if choice is None else PasswordAlgorithm(choice.algorithm)
        try:
            prepared = opaque_string(self._username)
            _check_sendable(prepared)
            key = long_term_key(prepared, realm, self._password, algorithm)
        except ValueError:
            return Verdict.REFUSED  # the server's realm, or what we were given, is no OpaqueString
        self._prepared, self._key = prepared, key
        self._realm, self._nonce = realm, nonce
        self._offered, self._choice = offered or (), choice
        self._anonymous = SecurityFeature.USERNAME_ANONYMITY in promised
        return Verdict.RETRY


_MAX_REALM = 127
_MAX_USERNAME = 508


def _check_sendable(username: str) -> None:
    if len(username.encode()) > _MAX_USERNAME:
        raise ValueError("a user name has fewer than 509 bytes (section 14.3)")


_PREFERENCE = (PasswordAlgorithm.SHA256, PasswordAlgorithm.MD5)


def _choose(offered: tuple[PasswordAlgorithmChoice, ...]) -> PasswordAlgorithmChoice | None:
    # RFC 8656 section 5 has SHA-256 chosen over MD5 whatever the order of the offer.
    for algorithm in _PREFERENCE:
        for choice in offered:
            if choice.algorithm == algorithm and not choice.parameters:
                return choice
    return None


def _with(request: Message, *pairs: tuple[att.Attribute[str], str]) -> Message:
    return Message(request.method, request.message_class, request.transaction_id, [*request.attributes, *pairs])
