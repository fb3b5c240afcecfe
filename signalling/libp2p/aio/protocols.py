"""Inbound streams: which protocols are served, by whom, and how many streams at a time."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from signalling.errors import ConnectionClosed, NegotiationError, SignallingError
from signalling.libp2p.aio.connection import Connection
from signalling.libp2p.aio.negotiation import negotiate_inbound
from signalling.libp2p.aio.streams import RawStream, Stream
from signalling.libp2p.aio.tasks import TaskSet
from signalling.libp2p.host_config import HostConfig

__all__ = ["Handler", "ProtocolTable"]

logger = logging.getLogger("signalling")

Handler = Callable[[Stream], Awaitable[None]]
"""Serves one inbound stream. The stream is closed when it returns, and reset when it raises."""


@dataclass(frozen=True, slots=True)
class _Registration:
    handler: Handler
    allow_limited: bool


@dataclass(slots=True)
class _Load:
    """The inbound streams of one connection."""

    negotiating: int = 0
    served: Counter[str] = field(default_factory=Counter)
    refused: int = 0


class ProtocolTable:
    """The protocols that a host serves."""

    def __init__(self, config: HostConfig, tasks: TaskSet) -> None:
        self._config = config
        self._tasks = tasks
        self._registrations: dict[str, _Registration] = {}

    def handle(self, protocol: str, handler: Handler, *, allow_limited: bool) -> None:
        """Serve ``protocol``; a second registration replaces the first for new streams."""
        self._registrations[protocol] = _Registration(handler, allow_limited)

    def unhandle(self, protocol: str) -> None:
        """Serve ``protocol`` no more; streams that are open go on."""
        self._registrations.pop(protocol, None)

    def names(self) -> list[str]:
        """Return the protocols served, limited connections aside."""
        return sorted(self._registrations)

    async def serve(self, connection: Connection) -> None:
        """Serve the streams that the peer opens, until the connection is gone."""
        load = _Load()
        config = self._config
        while True:
            try:
                raw = await connection.muxer.accept_stream()
            except ConnectionClosed:
                return
            serving = load.served.total()
            if load.negotiating >= config.max_negotiating_streams or serving >= config.max_inbound_streams:
                load.refused += 1
                if load.refused == 1:
                    logger.debug("%r opens more streams than are served at a time", connection)
                await raw.reset()
                continue
            load.negotiating += 1
            self._tasks.spawn(self._serve_stream(raw, connection, load), f"stream of {connection.remote_peer}")

    def _supported(self, connection: Connection) -> list[str]:
        limited = connection.limit is not None
        return [name for name, entry in self._registrations.items() if entry.allow_limited or not limited]

    async def _serve_stream(self, raw: RawStream, connection: Connection, load: _Load) -> None:
        try:
            protocol, received = await negotiate_inbound(raw, self._supported(connection), connection.negotiation)
        except (NegotiationError, ConnectionClosed) as error:
            logger.debug("inbound stream of %r: %s", connection, error)
            return
        finally:
            load.negotiating -= 1
        registration = self._registrations.get(protocol)
        if registration is None or load.served[protocol] >= self._config.max_inbound_streams_per_protocol:
            await raw.reset()
            return
        load.served[protocol] += 1
        try:
            await self._run(registration.handler, Stream(raw, protocol, connection, received))
        finally:
            load.served[protocol] -= 1

    async def _run(self, handler: Handler, stream: Stream) -> None:
        try:
            await handler(stream)
            await stream.close()
        except (SignallingError, OSError, TimeoutError) as error:
            logger.debug("%s stream of %r ended: %s", stream.protocol, stream.connection, error)
            await stream.reset()
        except BaseException:
            await stream.reset()
            raise
