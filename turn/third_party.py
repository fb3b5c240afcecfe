"""Third-party authorization, the client's side: requests signed with a token's key (RFC 7635 sections 8 and 9)."""

from __future__ import annotations

import copy

from stun import attributes as att
from stun.auth import Authenticator, Verdict
from stun.integrity import Integrity
from stun.message import Message, MessageClass, Method
from turn.config import AccessToken

__all__ = ["WITH_TOKEN", "ThirdPartyClient"]

WITH_TOKEN = frozenset({Method.ALLOCATE, Method.REFRESH})
"""The only requests that carry the token (section 9)."""

_MAX_CHALLENGES = 5


class ThirdPartyClient:
    """An :class:`~stun.auth.Authenticator` for servers that take tokens; others get the user's name and password."""

    def __init__(self, fallback: Authenticator | None) -> None:
        """Args:
        fallback: signs for servers that do not speak of third parties (section 6.1); None refuses those.
        """
        self.server_name: str | None = None
        """What the server calls itself to authorization servers, once it has."""
        self._fallback = fallback
        self._delegate: Authenticator | None = None
        self._access: AccessToken | None = None
        self._realm = ""
        self._nonce = b""
        self._challenges = 0

    @property
    def delegate(self) -> Authenticator | None:
        """Who signs instead, once the server has turned out to know no third parties."""
        return self._delegate

    @property
    def token(self) -> bytes | None:
        """As of :class:`~stun.auth.Authenticator`: the nonce, or None before there is a token."""
        if self._delegate is not None:
            return self._delegate.token
        return None if self._access is None else self._nonce

    def with_access(self, access: AccessToken) -> ThirdPartyClient:
        """Return one that signs with this token and knows the server as this one does.

        Raises:
            ValueError: the token cannot be sent.
        """
        att.USERNAME.encode(access.kid, b"")
        other = copy.copy(self)
        other._access = access
        other._challenges = 0
        return other

    def serialize(self, request: Message, fingerprint: bool) -> bytes:
        """Return the request: bare without a token, else signed with its key."""
        if self._delegate is not None:
            return self._delegate.serialize(request, fingerprint)
        access = self._access
        if access is None:
            return request.serialize(fingerprint=fingerprint)
        dressed = Message(request.method, request.message_class, request.transaction_id, list(request.attributes))
        dressed.add(att.USERNAME, access.kid).add(att.REALM, self._realm).add(att.NONCE, self._nonce)
        if request.method in WITH_TOKEN:
            dressed.add(att.ACCESS_TOKEN, access.token)
        return dressed.serialize(access.mac_key, fingerprint, Integrity.SHA1)

    def judge(self, response: Message, token: bytes | None) -> Verdict:
        """Learn from challenges; take nothing that is not signed with the token's key (section 8)."""
        if self._delegate is not None:
            return self._delegate.judge(response, token)
        error = response.error if response.message_class is MessageClass.ERROR else None
        if error is not None and error.code in (401, 438):
            return self._challenged(response, error.code, token)
        if token is None:
            return Verdict.ACCEPT
        access = self._access
        if access is None or not response.verify_integrity(access.mac_key, Integrity.SHA1):
            return Verdict.DISCARD
        self._challenges = 0
        return Verdict.ACCEPT

    def _challenged(self, response: Message, code: int, token: bytes | None) -> Verdict:
        name, realm, nonce = (
            response.get(att.THIRD_PARTY_AUTHORIZATION),
            response.get(att.REALM),
            response.get(att.NONCE),
        )
        if name is None and self.server_name is None:
            self._delegate = self._fallback
            return Verdict.REFUSED if self._fallback is None else self._fallback.judge(response, token)
        if nonce is None or (realm is None and not self._realm):
            return Verdict.REFUSED
        if self._access is not None and token != self.token:
            return Verdict.RETRY  # signed before a newer challenge came
        self.server_name = name or self.server_name
        self._realm, self._nonce = realm or self._realm, nonce
        self._challenges += 1
        if self._access is None or self._challenges > _MAX_CHALLENGES:
            return Verdict.REFUSED  # a token is wanted
        # 401 to a signed request: the token has run out, or is not for this server.
        return Verdict.RETRY if code == 438 or token is None else Verdict.REFUSED
