"""Third-party authorization, the server's side: whoever shows an access token has its key (RFC 7635 sections 7, 9)."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from stun import attributes as att
from stun.address import TransportAddress
from stun.auth_server import Authenticated, LongTermServer, LongTermServerConfig, Refused, RotatingStore
from stun.message import Message
from stun.values import PasswordAlgorithm
from turn.access_token import open_token
from turn.credentials import UserStore
from turn.service.config import TokenConfig

__all__ = ["Grant", "TokenDoor"]


class Grant(NamedTuple):
    """What a valid token lets its holder do, and until when."""

    kid: str
    mac_key: bytes
    ends: float
    """Monotonic seconds."""
    identity: str
    """Whom quotas belong to: the holder of this token."""


_NOBODY = Grant("", b"", 0.0, "")


class _Store:
    """The users, but for the message of a token's holder, for whom there is only that token's key."""

    def __init__(self, users: UserStore) -> None:
        self.grant: Grant | None = None
        self._users = users

    def key(self, username: str, algorithm: PasswordAlgorithm) -> bytes | None:
        grant = self.grant
        if grant is None:
            return self._users.key(username, algorithm)
        return grant.mac_key if grant is not _NOBODY and username == grant.kid else None

    def older_keys(self, username: str, algorithm: PasswordAlgorithm) -> Sequence[bytes]:
        if self.grant is None and isinstance(self._users, RotatingStore):
            return self._users.older_keys(username, algorithm)
        return ()

    def username(self, hashed: bytes) -> str | None:
        return self._users.username(hashed) if self.grant is None else None


class TokenDoor:
    """Lets in users with a name and a password, and holders of tokens where there are keys to open those with."""

    def __init__(
        self,
        config: TokenConfig | None,
        long_term: LongTermServerConfig,
        users: UserStore,
        rng: random.Random,
        unix_time: Callable[[], float] | None,
    ) -> None:
        """Args:
        config: the keys; None takes no tokens.
        long_term: what to ask for.
        users: who has a name and a password.
        rng: makes the secret of the nonces.
        unix_time: tells the time in Unix seconds.

        Raises:
            ValueError: there are keys and no clock.
        """
        if config is not None and unix_time is None:
            raise ValueError("tokens need a clock: they say when they were made")
        self._config = config
        self._keys = {} if config is None else {key.kid: key for key in config.keys}
        self._unix_time = unix_time
        self._store = _Store(users)
        self._auth = LongTermServer(long_term, self._store, rng)

    def grant_of(self, message: Message, known: Grant | None, now: float) -> Grant | None:
        """Return what a message's token grants; without one, what the allocation's token (``known``) does.

        None for what comes from users with a name and a password.
        """
        if self._config is None:
            return None
        token = message.get(att.ACCESS_TOKEN)
        if token is not None:
            return self._open(self._config, message.get(att.USERNAME) or "", token, now) or _NOBODY
        if known is None or message.integrity is None or message.get(att.USERNAME) != known.kid:
            return None
        return known if known.ends > now else _NOBODY

    def check(
        self, message: Message, client: TransportAddress, grant: Grant | None, now: float
    ) -> Authenticated | Refused:
        """Judge a request of ``client`` as :class:`~stun.auth_server.LongTermServer` does."""
        self._store.grant = grant
        verdict = self._auth.check(message, client, now)
        self._store.grant = None
        if self._config is not None and isinstance(verdict, Refused) and verdict.response is not None:
            error = verdict.response.error
            if error is not None and error.code in (401, 438):
                verdict.response.add(att.THIRD_PARTY_AUTHORIZATION, self._config.server_name)
        return verdict

    def _open(self, config: TokenConfig, kid: str, token: bytes, now: float) -> Grant | None:
        key = self._keys.get(kid)
        contents = None if key is None else open_token(key, config.server_name, token)
        if contents is None or self._unix_time is None:
            return None
        # Section 7: made shortly before, or a little ahead of our clock; section 9: for how long that lasts.
        left = contents.lifetime + config.delta - abs(self._unix_time() - contents.issued)
        if left < 1:
            return None
        holder = hashlib.sha256(contents.mac_key).hexdigest()[:32]
        return Grant(kid, contents.mac_key, now + min(left, contents.lifetime), f"token:{holder}")
