"""The multibase encodings that libp2p's texts use: base58btc, base32, base64url and a few more (multibase table)."""

from __future__ import annotations

import base64
import binascii

from signalling.errors import DecodeError

__all__ = ["base58_decode", "base58_encode", "multibase_decode", "multibase_encode"]

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_INDEX = {character: index for index, character in enumerate(_BASE58)}
_MAX_BASE58 = 512
"""Characters; base58 takes quadratic time, and a multihash needs fewer than a hundred."""


def base58_encode(data: bytes) -> str:
    """Return ``data`` in base58btc (Bitcoin's alphabet, leading zero bytes as ``1``)."""
    number = int.from_bytes(data)
    digits = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_BASE58[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(digits))


def base58_decode(text: str) -> bytes:
    """Return the bytes of a base58btc text.

    Raises:
        DecodeError: a character is not of the alphabet, or the text is longer than any multihash.
    """
    if len(text) > _MAX_BASE58:
        raise DecodeError("the base58 text is too long")
    number = 0
    for character in text:
        digit = _BASE58_INDEX.get(character)
        if digit is None:
            raise DecodeError(f"{character!r} is not a base58 character")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8)


def multibase_encode(base: str, data: bytes) -> str:
    """Return ``data`` as multibase text; ``base`` is ``b`` (base32), ``f`` (hex), ``u`` (base64url) or ``z`` (base58).

    Raises:
        ValueError: ``base`` is another one.
    """
    match base:
        case "b":
            return "b" + base64.b32encode(data).decode().rstrip("=").lower()
        case "f":
            return "f" + data.hex()
        case "u":
            return "u" + base64.urlsafe_b64encode(data).decode().rstrip("=")
        case "z":
            return "z" + base58_encode(data)
    raise ValueError(f"{base!r} is not a multibase that is written here")


def multibase_decode(text: str) -> bytes:
    """Return the bytes of a multibase text: base16, base32, base58btc, base64 and base64url, unpadded.

    Raises:
        DecodeError: the prefix is unknown or the rest is not of its alphabet.
    """
    base, rest = text[:1], text[1:]
    try:
        match base:
            case "b" | "B":
                return base64.b32decode(rest.upper() + "=" * (-len(rest) % 8))
            case "f" | "F":
                return bytes.fromhex(rest)
            case "m":
                return base64.b64decode(rest + "=" * (-len(rest) % 4), validate=True)
            case "u":
                return base64.b64decode(rest + "=" * (-len(rest) % 4), altchars=b"-_", validate=True)
            case "z":
                return base58_decode(rest)
    except (binascii.Error, ValueError) as error:
        raise DecodeError(f"not multibase text: {error}") from None
    raise DecodeError(f"{base!r} is not a known multibase prefix")
