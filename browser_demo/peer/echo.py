"""Echo, ``/lastresort/echo/1.0.0``: every byte comes back, then the end of the stream."""

from __future__ import annotations

from signalling.libp2p.aio.streams import Stream

__all__ = ["PROTOCOL", "serve_echo"]

PROTOCOL = "/lastresort/echo/1.0.0"


async def serve_echo(stream: Stream) -> None:
    """Serve one stream: send everything back, half-close after the peer did."""
    while data := await stream.read():
        await stream.write(data)
    await stream.close_write()
