"""What a mux reads of STUN messages: kind, transaction and user name fragment, without parsing the rest."""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["Kind", "has_username", "kind_of", "receiving_ufrag", "transaction_of"]

_USERNAME: Final = b"\x00\x06"
_HEADER: Final = 20


class Kind(enum.Enum):
    """The Binding messages (RFC 8489 section 5)."""

    REQUEST = b"\x00\x01"
    INDICATION = b"\x00\x11"
    SUCCESS = b"\x01\x01"
    ERROR = b"\x01\x11"


_KINDS: Final = {kind.value: kind for kind in Kind}


def kind_of(data: bytes) -> Kind | None:
    """Return what a STUN message is; None when it is no Binding message."""
    return _KINDS.get(data[:2])


def transaction_of(data: bytes) -> bytes:
    """Return the transaction id of a STUN message."""
    return data[8:_HEADER]


def receiving_ufrag(data: bytes, max_attributes: int) -> bytes | None:
    """Return the user name fragment of the agent that a check is for (RFC 8445 section 7.2.2).

    None when there is no USERNAME among the first ``max_attributes``, or none that has two parts.
    """
    username = _username(data, max_attributes)
    if username is None:
        return None
    ours, colon, theirs = username.partition(b":")
    return ours if colon and ours and theirs else None


def has_username(data: bytes, max_attributes: int) -> bool:
    """Whether a request is a check rather than a question to a STUN server."""
    return _username(data, max_attributes) is not None


def _username(data: bytes, max_attributes: int) -> bytes | None:
    at, size = _HEADER, len(data)
    for _ in range(max_attributes):
        if at + 4 > size:
            return None
        length = data[at + 2] << 8 | data[at + 3]
        if data[at : at + 2] == _USERNAME:
            return data[at + 4 : at + 4 + length] if at + 4 + length <= size else None
        at += 4 + (length + 3 & ~3)
    return None
