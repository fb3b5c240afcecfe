"""Who may use the server: users with passwords, and users of limited time made from a shared secret ("TURN REST API").

Time-limited names are ``<expiry in Unix seconds>:<user>`` and their password is the Base64 of
HMAC-SHA1(secret, name), as coturn's ``use-auth-secret`` has them: one web service can hand out credentials for both.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from stun.auth_server import RotatingStore, StaticCredentials
from stun.integrity import long_term_key
from stun.values import PasswordAlgorithm

__all__ = ["Credentials", "SharedSecretUsers", "StaticUsers", "UserStore", "Users", "rest_credentials"]


class Credentials(NamedTuple):
    """What a client signs in with."""

    username: str
    password: str


def rest_credentials(secret: str, user: str, lifetime: float, unix_time: float) -> Credentials:
    """Return credentials for ``user`` that are good for ``lifetime`` seconds from ``unix_time`` on.

    Raises:
        ValueError: there is no secret, or no time.
    """
    if not secret or lifetime <= 0:
        raise ValueError("time-limited credentials need a shared secret and a positive lifetime")
    username = f"{int(unix_time + lifetime)}:{user}" if user else str(int(unix_time + lifetime))
    return Credentials(username, _rest_password(secret, username))


def _rest_password(secret: str, username: str) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), username.encode(), hashlib.sha1)).decode()


class UserStore(RotatingStore, Protocol):
    """A store of credentials that knows who is behind a name."""

    @property
    def knows_hashes(self) -> bool:
        """Whether it finds names by USERHASH."""

    def identity(self, username: str) -> str:
        """Return whom quotas and allocations belong to; renewed credentials have another name but the same identity."""


class StaticUsers:
    """A fixed set of users."""

    knows_hashes = True

    def __init__(self, realm: str, passwords: Mapping[str, str]) -> None:
        """Args: as of :class:`stun.auth_server.StaticCredentials`, which it wraps; raises ValueError as that does."""
        self._store = StaticCredentials(realm, passwords)

    def key(self, username: str, algorithm: PasswordAlgorithm) -> bytes | None:
        """Return the long-term key of a user, or None."""
        return self._store.key(username, algorithm)

    def older_keys(self, username: str, algorithm: PasswordAlgorithm) -> Sequence[bytes]:
        """Return none: a user has one password."""
        return ()

    def username(self, hashed: bytes) -> str | None:
        """Return the user name behind a USERHASH, or None."""
        return self._store.username(hashed)

    def identity(self, username: str) -> str:
        """Return the name itself."""
        return username


class SharedSecretUsers:
    """Users whose names say until when they are good; nothing is stored of them."""

    knows_hashes = False

    def __init__(self, realm: str, secrets: Sequence[str], unix_time: Callable[[], float]) -> None:
        """Args:
        realm: of the server.
        secrets: the shared secrets, the newest first; several while one is being replaced.
        unix_time: tells the time in Unix seconds; names that are older are refused.
        """
        if not secrets or not all(secrets):
            raise ValueError("a shared secret is empty")
        self._realm = realm
        self._secrets = tuple(secrets)
        self._unix_time = unix_time

    def key(self, username: str, algorithm: PasswordAlgorithm) -> bytes | None:
        """Return the long-term key of a name whose time has not come yet, or None."""
        return self._key(self._secrets[0], username, algorithm) if self._is_current(username) else None

    def older_keys(self, username: str, algorithm: PasswordAlgorithm) -> Sequence[bytes]:
        """Return the keys that the other secrets make."""
        return [self._key(secret, username, algorithm) for secret in self._secrets[1:]]

    def username(self, hashed: bytes) -> str | None:
        """Return None: a name that was never seen cannot be found by its hash."""
        return None

    def identity(self, username: str) -> str:
        """Return the user behind the time; a bare time is a user of its own."""
        _, _, user = username.partition(":")
        return f"rest:{user}" if user else username

    def _key(self, secret: str, username: str, algorithm: PasswordAlgorithm) -> bytes:
        return long_term_key(username, self._realm, _rest_password(secret, username), algorithm)

    def _is_current(self, username: str) -> bool:
        until = username.partition(":")[0]
        if not (until.isascii() and until.isdigit()) or len(until) > 15:
            return False
        return int(until) > self._unix_time()


class Users:
    """Several stores, asked in turn."""

    def __init__(self, *stores: UserStore) -> None:
        """Args:
        stores: the first that knows a name decides.
        """
        self._stores = stores
        self.knows_hashes = bool(stores) and all(store.knows_hashes for store in stores)
        """Whether all of them find names by USERHASH."""

    def key(self, username: str, algorithm: PasswordAlgorithm) -> bytes | None:
        """Return the long-term key of a user, or None."""
        return next((key for store in self._stores if (key := store.key(username, algorithm)) is not None), None)

    def older_keys(self, username: str, algorithm: PasswordAlgorithm) -> Sequence[bytes]:
        """Return the other keys of a user."""
        store = self._owner(username)
        return store.older_keys(username, algorithm) if store is not None else ()

    def username(self, hashed: bytes) -> str | None:
        """Return the user name behind a USERHASH, or None."""
        return next((name for store in self._stores if (name := store.username(hashed)) is not None), None)

    def identity(self, username: str) -> str:
        """Return whom a name belongs to."""
        store = self._owner(username)
        return store.identity(username) if store is not None else username

    def _owner(self, username: str) -> UserStore | None:
        known = (store for store in self._stores if store.key(username, PasswordAlgorithm.SHA256) is not None)
        return next(known, None)
