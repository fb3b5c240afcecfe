"""Who signs a client's requests: the credentials in use, those that will follow them, and what a 401 means for both.

A server ties an allocation to the user name that made it (RFC 8656 section 5). REST credentials have their expiry in
the name, so newer ones are another user to a strict server. They are therefore held back until the server refuses those
in use: a server that goes on taking the old ones (coturn does) never sees a change, and one that checks the expiry each
time gets the new ones with the very next send.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

from stun import attributes as att
from stun.auth import Anonymous, Authenticator, LongTermClient, Verdict
from stun.integrity import long_term_key
from stun.message import Message, Method
from stun.values import PasswordAlgorithm
from turn.config import AccessToken, Credentials
from turn.third_party import WITH_TOKEN, ThirdPartyClient

__all__ = ["Authentication", "Signed"]


class Signed(NamedTuple):
    """What a request was signed with; :meth:`Authentication.judge` wants it back."""

    authenticator: Authenticator
    token: bytes | None


class Authentication:
    """The client's side of the long-term mechanism, for one server."""

    def __init__(self, credentials: Credentials | None, *, third_party: bool = False) -> None:
        """Args:
        credentials: None sends unsigned requests, which servers without users take.
        third_party: whether access tokens can be had, which servers that take them are then shown instead (RFC 7635).

        Raises:
            ValueError: they are no OpaqueStrings, or the user name is too long to be sent.
        """
        self._current: Authenticator = _authenticator(credentials)
        if third_party:
            self._current = ThirdPartyClient(None if credentials is None else self._current)
        self._next: Credentials | None = None
        self._fresh: ThirdPartyClient | None = None
        """Signs with a token that the server has not seen yet: what carries tokens has to bring it there first."""

    @property
    def signed(self) -> Signed:
        """What most requests that are serialized now will be signed with."""
        return Signed(self._current, self._current.token)

    def signed_for(self, method: Method) -> Signed:
        """What a request of a method that is serialized now will be signed with."""
        if self._fresh is not None and method in WITH_TOKEN:
            return Signed(self._fresh, self._fresh.token)
        return self.signed

    @property
    def server_name(self) -> str | None:
        """What a server that takes tokens calls itself; None for others, and before it was heard of."""
        current = self._current
        return current.server_name if isinstance(current, ThirdPartyClient) and current.delegate is None else None

    @property
    def is_renewable(self) -> bool:
        """Whether new credentials would help: not where tokens were to be had and the server takes none."""
        return not isinstance(self._current, ThirdPartyClient) or self.server_name is not None

    @property
    def uses_sha256(self) -> bool:
        """Whether requests are signed with MESSAGE-INTEGRITY-SHA256."""
        current = self._current
        if isinstance(current, ThirdPartyClient):
            current = current.delegate or current
        return isinstance(current, LongTermClient) and current.algorithm is PasswordAlgorithm.SHA256

    def adopt(self, credentials: Credentials | AccessToken) -> None:
        """Use these from now on.

        Raises:
            ValueError: they cannot be sent.
        """
        if isinstance(credentials, AccessToken):
            self._current = self._with(credentials)
            self._fresh = None
            return
        self._current = _authenticator(credentials)
        self._next = None

    def hold(self, credentials: Credentials | AccessToken) -> None:
        """Use these once the server refuses those in use; a token with the next request that carries one.

        Raises:
            ValueError: they cannot be sent.
        """
        if isinstance(credentials, AccessToken):
            self._fresh = self._with(credentials)
            return
        _authenticator(credentials)
        self._next = credentials

    def judge(self, response: Message, signed: Signed) -> Verdict:
        """Judge a response to a request that was signed with ``signed``."""
        verdict = signed.authenticator.judge(response, signed.token)
        if signed.authenticator is self._fresh:
            if verdict is Verdict.ACCEPT:
                self._current, self._fresh = self._fresh, None
            return verdict
        if signed.authenticator is not self._current:
            # Other credentials are in use by now: what the old ones met no longer counts.
            return Verdict.RETRY if verdict is Verdict.REFUSED else verdict
        if verdict is Verdict.REFUSED and self._next is not None:
            return self._switch(response, self._next)
        return verdict

    def copy(self) -> Authentication:
        """Return one that starts with the realm and nonce of this one and learns for itself (for a new connection)."""
        other = copy.copy(self)
        other._current = copy.copy(self._current)
        return other

    def _with(self, access: AccessToken) -> ThirdPartyClient:
        if not isinstance(self._current, ThirdPartyClient) or self.server_name is None:
            raise ValueError("the server takes no access tokens")
        return (self._fresh or self._current).with_access(access)

    def _switch(self, response: Message, credentials: Credentials) -> Verdict:
        error = response.error
        if error is None or error.code != 401:
            return Verdict.REFUSED
        fresh = _authenticator(credentials)
        if fresh.judge(response, None) is not Verdict.RETRY:  # the 401 is the challenge of the new ones, too
            return Verdict.REFUSED
        self._current = fresh
        self._next = None
        return Verdict.RETRY


def _authenticator(credentials: Credentials | None) -> Authenticator:
    if credentials is None:
        return Anonymous()
    att.USERNAME.encode(credentials.username, b"")
    long_term_key(credentials.username, "realm", credentials.password)  # else it would be found out after a challenge
    return LongTermClient(credentials.username, credentials.password)
