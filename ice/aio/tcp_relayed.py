"""A peer's connection through a TCP allocation (RFC 6062), with RFC 4571 frames in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ice.aio.tcp_connection import Receiver
from ice.tcp_config import TcpConfig
from stun.errors import StunFramingError
from stun.framing import FrameDecoder
from turn.aio.peer_stream import PeerStream

__all__ = ["RelayedConnection"]


class RelayedConnection:
    """As :class:`~ice.aio.tcp_connection.TcpConnection`, through a TURN server."""

    def __init__(self, stream: PeerStream, receiver: Receiver, gone: Callable[[], None], config: TcpConfig) -> None:
        self._stream = stream
        self._receiver = receiver
        self._gone = gone
        self._config = config
        self._task = asyncio.create_task(self._read(), name=f"ice: relayed connection with {stream.peer}")

    def send(self, packet: bytes) -> bool:
        """As of :class:`~ice.aio.tcp_connection.TcpConnection`."""
        return self._send(packet, self._config.max_write_buffer)

    def send_check(self, packet: bytes) -> bool:
        """As of :class:`~ice.aio.tcp_connection.TcpConnection`."""
        return self._send(packet, 2 * self._config.max_write_buffer)

    def _send(self, packet: bytes, limit: int) -> bool:
        if len(packet) > 0xFFFF:
            return False
        return self._stream.offer(len(packet).to_bytes(2, "big") + packet, limit)

    async def _read(self) -> None:
        decoder = FrameDecoder(self._config.max_packet)
        try:
            while data := await self._stream.read():
                for packet in decoder.receive(data):
                    if packet:
                        self._receiver(packet)
        except (ConnectionError, StunFramingError):
            pass  # Whatever ends it, it is gone.
        self._stream.end()
        self._gone()

    def close(self) -> None:
        """As of :class:`~ice.aio.tcp_connection.TcpConnection`."""
        self._task.cancel()
        self._stream.end()
