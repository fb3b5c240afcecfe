"""The DTLS cookie exchange without state: a client shows that it receives at its address before we keep anything.

RFC 6347 section 4.2.1. The first ClientHello is answered by a HelloVerifyRequest that is smaller than it; only a
ClientHello that brings the cookie back makes a session. Nothing is stored between the two.
"""

from __future__ import annotations

import enum
import hmac
from dataclasses import dataclass
from hashlib import sha256

from stun.errors import StunParseError

__all__ = ["ClientHello", "CookieExchange", "HelloVerdict", "is_handshake", "parse_client_hello"]

_HANDSHAKE = 22
_CLIENT_HELLO = 1
_HELLO_VERIFY_REQUEST = 3
_RECORD_LENGTH = 13
_HEADER_LENGTH = 12
_COOKIE_LENGTH = 20
_DTLS_1_0 = b"\xfe\xff"
"""The version that HelloVerifyRequest always has."""


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What the cookie exchange needs of a ClientHello."""

    sequence_number: bytes
    """Of its record, 6 bytes; the answer repeats it."""
    random: bytes
    """32 bytes, the same in all retransmissions of one handshake."""
    cookie: bytes
    """Empty in the first one."""
    fixed: bytes
    """What must be the same in both: everything but the cookie."""


class HelloVerdict(enum.Enum):
    """What a datagram from an unknown address is."""

    VERIFIED = "the cookie is right"
    UNVERIFIED = "no cookie, or an old or wrong one"


def is_handshake(data: bytes) -> bool:
    """Whether a datagram starts with an unencrypted handshake record, as a new session does."""
    return len(data) > _RECORD_LENGTH and data[0] == _HANDSHAKE and data[1] == 0xFE and data[3:5] == b"\0\0"


def parse_client_hello(data: bytes) -> ClientHello:
    """Read the ClientHello that starts ``data``; it has to be in one piece.

    Raises:
        StunParseError: it is none.
    """
    if not is_handshake(data):
        raise StunParseError("no DTLS handshake record")
    length = int.from_bytes(data[11:13], "big")
    record = data[_RECORD_LENGTH : _RECORD_LENGTH + length]
    if len(record) != length or length < _HEADER_LENGTH or record[0] != _CLIENT_HELLO:
        raise StunParseError("no ClientHello")
    size = int.from_bytes(record[1:4], "big")
    offset, part = int.from_bytes(record[6:9], "big"), int.from_bytes(record[9:12], "big")
    body = record[_HEADER_LENGTH:]
    if offset or part != size or len(body) != size:
        raise StunParseError("a ClientHello in pieces")
    session = 34
    cookie = session + 1 + (body[session] if len(body) > session else 0)
    end = cookie + 1 + (body[cookie] if len(body) > cookie else 0)
    # What follows at least: two bytes of cipher suites' length, and one suite.
    if len(body) < end + 4:
        raise StunParseError("a truncated ClientHello")
    return ClientHello(data[5:11], body[2:34], body[cookie + 1 : end], body[:cookie] + body[end:])


class CookieExchange:
    """Makes and checks cookies; a cookie is a MAC of the client's address, its hello and the time."""

    def __init__(self, secret: bytes, period: float = 30.0) -> None:
        """Args:
        secret: at least 16 random bytes.
        period: seconds for which new cookies are the same; one is valid for one to two periods.
        """
        if len(secret) < 16:
            raise ValueError("a cookie secret needs 16 bytes or more")
        self._secret = secret
        self._period = period

    def judge(self, hello: ClientHello, source: tuple[str, int], now: float) -> HelloVerdict:
        """Say whether ``hello`` shows that its sender receives at ``source``."""
        period = int(now // self._period)
        for age in (0, 1):
            if hmac.compare_digest(hello.cookie, self._cookie(hello, source, period - age)):
                return HelloVerdict.VERIFIED
        return HelloVerdict.UNVERIFIED

    def challenge(self, hello: ClientHello, source: tuple[str, int], now: float) -> bytes:
        """Return the HelloVerifyRequest for ``hello``: 48 bytes, fewer than any ClientHello."""
        cookie = self._cookie(hello, source, int(now // self._period))
        body = _DTLS_1_0 + bytes((len(cookie),)) + cookie
        size = len(body).to_bytes(3, "big")
        message = bytes((_HELLO_VERIFY_REQUEST,)) + size + bytes(2) + bytes(3) + size + body
        record = bytes((_HANDSHAKE,)) + _DTLS_1_0 + bytes(2) + hello.sequence_number
        return record + len(message).to_bytes(2, "big") + message

    def _cookie(self, hello: ClientHello, source: tuple[str, int], period: int) -> bytes:
        host = source[0].encode()
        parts = (bytes((len(host),)), host, source[1].to_bytes(2, "big"), period.to_bytes(8, "big", signed=True))
        return hmac.digest(self._secret, b"".join((*parts, hello.fixed)), sha256)[:_COOKIE_LENGTH]
