"""The frames of a yamux session that wait for the connection."""

from __future__ import annotations

from signalling.libp2p.yamux_frames import HEADER_SIZE, FrameType, encode_header

__all__ = ["FrameQueue"]


class FrameQueue:
    """Gathers frames between two looks of the driver, so that they leave in one piece."""

    __slots__ = ("_answers", "_max_frame", "_pieces", "queued_bytes")

    def __init__(self, max_frame: int) -> None:
        """Cut data into frames of at most ``max_frame`` bytes."""
        self._max_frame = max_frame
        self._pieces: list[bytes | memoryview] = []
        self._answers = 0
        self.queued_bytes = 0
        """Headers and payload that wait."""

    def take(self) -> bytes | None:
        """Return and remove everything that waits, or None."""
        if not self._pieces:
            return None
        data = b"".join(self._pieces)
        self._pieces.clear()
        self.queued_bytes = self._answers = 0
        return data

    def frame(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        """Queue a frame without payload."""
        self._pieces.append(encode_header(kind, flags, stream_id, length))
        self.queued_bytes += HEADER_SIZE

    def answer(self, kind: int, flags: int, stream_id: int, length: int) -> int:
        """Queue a frame that the peer provoked; return how many of those wait."""
        self.frame(kind, flags, stream_id, length)
        self._answers += 1
        return self._answers

    def data(self, flags: int, stream_id: int, data: bytes | memoryview) -> None:
        """Queue data frames, ``flags`` on the first; ``data`` is not empty, and must not change until it is sent."""
        size, limit = len(data), self._max_frame
        if size <= limit:
            self._pieces += (encode_header(FrameType.DATA, flags, stream_id, size), data)
            self.queued_bytes += size + HEADER_SIZE
            return
        view = memoryview(data)
        for start in range(0, size, limit):
            part = view[start : start + limit]
            self._pieces += (encode_header(FrameType.DATA, flags, stream_id, len(part)), part)
            self.queued_bytes += len(part) + HEADER_SIZE
            flags = 0
