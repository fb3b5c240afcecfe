"""Authentication, the server's side: short-term and long-term credentials (RFC 8489 sections 9.1.3 and 9.2.4)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from stun import attributes as att
from stun.address import TransportAddress
from stun.attributes import Attribute
from stun.integrity import Integrity, long_term_key, opaque_string, userhash
from stun.message import Message, MessageClass
from stun.nonce import NonceFactory, SecurityFeature, features_of
from stun.values import PasswordAlgorithm, PasswordAlgorithmChoice

__all__ = [
    "Authenticated",
    "CredentialStore",
    "LongTermServer",
    "LongTermServerConfig",
    "Refused",
    "RotatingStore",
    "ShortTermServer",
    "StaticCredentials",
]


@dataclass(frozen=True, slots=True)
class Authenticated:
    """Who sent a message, and how to sign the response."""

    username: str
    key: bytes
    integrity: Integrity
    """SHA1 or SHA256."""

    def sign(self, response: Message, fingerprint: bool = False) -> bytes:
        """Return the signed bytes of the response."""
        return response.serialize(self.key, fingerprint, self.integrity)


@dataclass(frozen=True, slots=True)
class Refused:
    """The message fails authentication."""

    response: Message | None
    """What to answer, unsigned; None for an indication, which is dropped."""


class ShortTermServer:
    """Checks short-term credentials (section 9.1.3)."""

    def __init__(self, key_of: Callable[[str], bytes | None]) -> None:
        """Args:
        key_of: returns the key of a user name, or None.
        """
        self._key_of = key_of

    def check(self, message: Message) -> Authenticated | Refused:
        """Judge a request or indication."""
        integrity = message.integrity
        username = message.get(att.USERNAME)
        if integrity is None or username is None:
            return _refuse(message, 400, "Bad Request")
        key = self._key_of(username)
        if key is None or not message.verify_integrity(key):
            return _refuse(message, 401, "Unauthenticated")
        return Authenticated(username, key, Integrity.SHA1 if integrity is Integrity.SHA1 else Integrity.SHA256)


class CredentialStore(Protocol):
    """Where a long-term server finds its users; it need not know their passwords."""

    def key(self, username: str, algorithm: PasswordAlgorithm) -> bytes | None:
        """Return the long-term key of a user, or None."""

    def username(self, hashed: bytes) -> str | None:
        """Return the user name behind a USERHASH, or None."""


@runtime_checkable
class RotatingStore(CredentialStore, Protocol):
    """A store whose users may for a while have one of several keys, as when a shared secret is being replaced."""

    def older_keys(self, username: str, algorithm: PasswordAlgorithm) -> Sequence[bytes]:
        """Return the keys of a user that are good beside :meth:`key`."""


class StaticCredentials:
    """A fixed set of users; only keys are kept, no passwords."""

    def __init__(self, realm: str, passwords: Mapping[str, str]) -> None:
        """Args:
        realm: the realm of all of them.
        passwords: by user name.

        Raises:
            ValueError: a text is no OpaqueString.
        """
        prepared = {opaque_string(username): password for username, password in passwords.items()}
        self._keys = {
            (username, algorithm): long_term_key(username, realm, password, algorithm)
            for username, password in prepared.items()
            for algorithm in PasswordAlgorithm
        }
        self._names = {userhash(username, realm): username for username in prepared}

    def key(self, username: str, algorithm: PasswordAlgorithm) -> bytes | None:
        """Return the long-term key of a user, or None."""
        return self._keys.get((username, algorithm))

    def username(self, hashed: bytes) -> str | None:
        """Return the user name behind a USERHASH, or None."""
        return self._names.get(hashed)


@dataclass(frozen=True, kw_only=True, slots=True)
class LongTermServerConfig:
    """What a long-term server asks for (section 9.2)."""

    realm: str
    """REALM, fewer than 128 characters (14.9); sent as OpaqueString makes it."""
    algorithms: tuple[PasswordAlgorithm, ...] = (PasswordAlgorithm.SHA256, PasswordAlgorithm.MD5)
    """PASSWORD-ALGORITHMS in order of preference (14.11); empty for a server that speaks only RFC 5389."""
    username_anonymity: bool = True
    """Whether USERHASH is asked for (9.2)."""
    nonce_lifetime: float = 600.0
    """Seconds for which a nonce is fresh (9.2; RFC 8656 section 5: at most an hour)."""

    def __post_init__(self) -> None:
        if not 0 < len(self.realm) < 128 or self.nonce_lifetime <= 0:
            raise ValueError("a realm has 1..127 characters and a nonce lives for some time")
        if len(opaque_string(self.realm)) > 127:
            raise ValueError("a realm that OpaqueString makes longer than 127 characters")


class LongTermServer:
    """Challenges clients and checks long-term credentials in the order of section 9.2.4."""

    def __init__(self, config: LongTermServerConfig, store: CredentialStore, rng: random.Random) -> None:
        """Args:
        config: what to ask for.
        store: the users.
        rng: makes the secret of the nonces; ``random.SystemRandom`` outside of tests.
        """
        self.config = config
        self._realm = opaque_string(config.realm)
        self._store = store
        self._offer = tuple(PasswordAlgorithmChoice(algorithm) for algorithm in config.algorithms)
        features = SecurityFeature.NONE
        if self._offer:
            features |= SecurityFeature.PASSWORD_ALGORITHMS
        if config.username_anonymity:
            features |= SecurityFeature.USERNAME_ANONYMITY
        self._nonces = NonceFactory(rng.randbytes(32), features, config.nonce_lifetime)

    def check(self, message: Message, client: TransportAddress, now: float) -> Authenticated | Refused:
        """Judge a request that came from ``client``."""
        if message.integrity is None:
            return self._challenge(message, 401, "Unauthenticated", client, now)
        realm = message.get(att.REALM)
        nonce = message.get(att.NONCE)
        if realm is None or nonce is None or (att.USERNAME not in message and att.USERHASH not in message):
            return _refuse(message, 400, "Bad Request")
        choice = message.get(att.PASSWORD_ALGORITHM)
        listed = message.get(att.PASSWORD_ALGORITHMS)
        promised = SecurityFeature.PASSWORD_ALGORITHMS in features_of(nonce)
        explicit = promised and (choice is not None or listed is not None)
        algorithm = PasswordAlgorithm.MD5
        if explicit:
            if choice is None or listed != self._offer or choice not in self._offer:
                return _refuse(message, 400, "Bad Request")
            algorithm = PasswordAlgorithm(choice.algorithm)
        elif promised and self._offer and PasswordAlgorithmChoice(algorithm) not in self._offer:
            return _refuse(message, 400, "Bad Request")
        integrity = Integrity.SHA256 if explicit else Integrity.SHA1
        username = self._username(message)
        key = self._store.key(username, algorithm) if username is not None and realm == self._realm else None
        if username is None or key is None:
            return self._challenge(message, 401, "Unauthenticated", client, now)
        signing = next(
            (one for one in self._keys(key, username, algorithm) if self._is_signed(message, one, explicit)), None
        )
        if signing is None:
            return self._challenge(message, 401, "Unauthenticated", client, now)
        if not self._nonces.is_fresh(nonce, client, now):
            return self._challenge(message, 438, "Stale Nonce", client, now)
        return Authenticated(username, signing, integrity)

    def _keys(self, key: bytes, username: str, algorithm: PasswordAlgorithm) -> Iterable[bytes]:
        yield key
        if isinstance(self._store, RotatingStore):
            yield from self._store.older_keys(username, algorithm)

    def _is_signed(self, message: Message, key: bytes, explicit: bool) -> bool:
        # A client that saw PASSWORD-ALGORITHMS signs with SHA-256; one that did not may sign with what it has.
        return message.verify_integrity(key, Integrity.SHA256 if explicit else None)

    def _username(self, message: Message) -> str | None:
        hashed = message.get(att.USERHASH)
        if hashed is not None:
            return self._store.username(hashed)
        name = message.get(att.USERNAME)
        try:
            return opaque_string(name) if name is not None else None
        except ValueError:
            return None

    def _challenge(self, message: Message, code: int, reason: str, client: TransportAddress, now: float) -> Refused:
        extra: list[tuple[Attribute[Any], Any]] = [
            (att.REALM, self._realm),
            (att.NONCE, self._nonces.make(client, now)),
        ]
        if self._offer:
            extra.append((att.PASSWORD_ALGORITHMS, self._offer))
        return _refuse(message, code, reason, extra)


def _refuse(message: Message, code: int, reason: str, extra: Iterable[tuple[Attribute[Any], Any]] = ()) -> Refused:
    if message.message_class is not MessageClass.REQUEST:
        return Refused(None)
    return Refused(message.failure(code, reason, *extra))
