"""What aiortc's DTLS transport rides on: ``_recv``, ``_send``, ``role`` and ``stop`` over an ICE session."""

from __future__ import annotations

from typing import Protocol

from ice import Role

__all__ = ["IcePath", "IceTransport"]


class IcePath(Protocol):
    """The part of :class:`ice.Session` that carries datagrams."""

    @property
    def role(self) -> Role:
        """The current ICE role; a role conflict may change it."""

    def send(self, data: bytes) -> None:
        """Send one datagram along the selected pair; raises ``ConnectionError`` when there is none any more."""

    async def receive(self) -> bytes:
        """Return the next datagram; raises ``ConnectionError`` once the session is closed or failed."""

    async def close(self) -> None:
        """End the session."""


class IceTransport:
    """The transport that ``aiortc.RTCDtlsTransport`` takes.

    aiortc's DTLS needs four things, found by breaking them: only ``ConnectionError`` may be raised; ``_recv`` never
    returns an empty datagram (DTLS looks at its first byte), and a cancelled ``_recv`` loses nothing; ``_send`` after
    the end raises instead of hanging; ``role`` is one of two words.
    """

    def __init__(self, path: IcePath) -> None:
        self._path = path
        self.received = 0
        """Datagrams handed up."""
        self.empty = 0
        """Empty datagrams that were dropped."""

    @property
    def role(self) -> str:
        """``"controlling"`` or ``"controlled"``, as aiortc spells them."""
        return "controlling" if self._path.role is Role.CONTROLLING else "controlled"

    async def _recv(self) -> bytes:
        """Return the next datagram, never an empty one; raises ``ConnectionError`` at the end."""
        while not (data := await self._path.receive()):
            self.empty += 1
        self.received += 1
        return data

    async def _send(self, data: bytes) -> None:
        """Send one datagram; raises ``ConnectionError`` when the path is gone."""
        self._path.send(data)

    async def stop(self) -> None:
        """Close the session; harmless twice."""
        await self._path.close()
