"""What a yamux session tells its owner."""

from __future__ import annotations

from dataclasses import dataclass

from signalling.libp2p.yamux_frames import GoAwayCode
from signalling.libp2p.yamux_stream import YamuxStream

__all__ = ["GoAwayReceived", "SessionEnded", "StreamOpened", "StreamReadable", "StreamWritable", "YamuxEvent"]


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """Event: the peer opened a stream; :meth:`Yamux.accept` returns it."""


@dataclass(frozen=True, slots=True)
class StreamReadable:
    """Event: a stream that had nothing to read now has: data, its end, or a reset."""

    stream: YamuxStream


@dataclass(frozen=True, slots=True)
class StreamWritable:
    """Event: a stream that took less than was offered takes more now, or is dead; or one may be opened again."""

    stream: YamuxStream | None
    """None when opening a stream is what became possible."""


@dataclass(frozen=True, slots=True)
class GoAwayReceived:
    """Event: the peer takes no new streams; those that exist go on."""


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """Event: nothing more will come. Send what is queued, then close the connection."""

    reason: str
    code: GoAwayCode


YamuxEvent = StreamOpened | StreamReadable | StreamWritable | GoAwayReceived | SessionEnded
