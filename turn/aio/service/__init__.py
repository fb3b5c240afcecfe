"""The TURN server on real sockets."""

from __future__ import annotations

from turn.aio.service.server import ServerSnapshot, TurnService, serve

__all__ = ["ServerSnapshot", "TurnService", "serve"]
