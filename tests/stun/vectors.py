"""The messages of RFC 5769, read from tests/vectors."""

from __future__ import annotations

from pathlib import Path

from stun.integrity import long_term_key

FOLDER = Path(__file__).resolve().parent.parent / "vectors"

SHORT_TERM_KEY = b"VOkJxbRl1RmTxUk/WvJxBt"
LONG_TERM_KEY = long_term_key("マトリックス", "example.org", "TheMatrIX")


def vector(name: str) -> bytes:
    return bytes.fromhex((FOLDER / f"rfc5769_{name}.hex").read_text())


REQUEST = vector("2_1_request")
IPV4_RESPONSE = vector("2_2_ipv4_response")
IPV6_RESPONSE = vector("2_3_ipv6_response")
LONG_TERM_REQUEST = vector("2_4_long_term_request")
