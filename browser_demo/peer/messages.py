"""JSON messages behind a length, as the demo's protocols exchange them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from signalling.errors import DecodeError, StreamClosed
from signalling.libp2p.aio.streams import Stream

__all__ = ["read_json", "write_json"]


async def read_json(stream: Stream, limit: int, timeout: float | None = None) -> dict[str, Any]:
    """Return the next message, a JSON object of at most ``limit`` bytes.

    Raises:
        DecodeError: it is no JSON object, or has half a character (a lone surrogate) in it.
        StreamClosed: the stream ended before it.
        TimeoutError: nothing came within ``timeout`` seconds.
    """
    async with asyncio.timeout(timeout):
        data = await stream.read_delimited(limit)
    if data is None:
        raise StreamClosed("the stream ended before the message")
    try:
        message = json.loads(data)
        # An escape such as \ud800 reads as half a character, which nothing here could write or print.
        json.dumps(message, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise DecodeError("not a JSON object")
    return message


async def write_json(stream: Stream, message: dict[str, Any]) -> None:
    """Send one message."""
    await stream.write_delimited(json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode())
