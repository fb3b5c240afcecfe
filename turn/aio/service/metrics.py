"""The server's figures for Prometheus, read when they are asked for: relaying a datagram costs nothing for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from stun.address import TransportAddress
from turn.aio.service.server import TurnService

__all__ = ["MetricsServer", "TurnCollector", "serve_metrics"]

logger = logging.getLogger("turn")

_GAUGES = {
    "allocations": "Living allocations",
    "permissions": "Permissions of living allocations",
    "channels": "Channels of living allocations",
    "connections": "Clients over TCP, TLS and DTLS",
    "peer_connections": "TCP connections with peers",
    "sockets": "Sockets towards peers",
    "ports": "Relayed ports in use, reserved ones included",
}
_TRAFFIC = {
    "packets_to_peers": "Datagrams and pieces of streams relayed to peers",
    "bytes_to_peers": "Bytes relayed to peers",
    "packets_to_client": "Datagrams and pieces of streams relayed to clients",
    "bytes_to_client": "Bytes relayed to clients",
}
_COUNTERS = {
    "allocations": "Allocations made",
    "bindings": "Binding requests answered",
    "moved": "Allocations that moved to another client address",
    "unparsable": "Datagrams and messages that are neither STUN nor ChannelData",
    "unanswered": "Responses kept back because they would have amplified an unauthenticated request",
    "guesses": "Requests without an answer because their source had sent too many wrong credentials",
    "no_allocation": "Data of clients without an allocation",
    "unbound_channel": "ChannelData on channels that are not bound",
    "denied_to_peer": "Send indications without permission",
    "denied_from_peer": "Datagrams of peers without permission",
    "over_bandwidth": "Relayed datagrams dropped for bandwidth",
    "connections": "Client connections accepted",
    "refused_connections": "Client connections refused because there were too many",
    "broken_connections": "Client connections closed for what was sent on them, or for silence",
    "peer_connections": "TCP connections with peers",
    "refused_peers": "TCP connections of peers refused",
    "icmp": "ICMP errors told to clients",
}
_SOCKETS = {"datagrams": "Datagrams sent", "batches": "System calls that sent several", "dropped": "Datagrams not sent"}


class TurnCollector(Collector):
    """Reads one server."""

    def __init__(self, service: TurnService) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Yield every figure as of now."""
        snapshot, stats, counters = self._service.snapshot(), self._service.stats, self._service.driver.counters
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"turn_{name}", text, value=getattr(snapshot, name))
        for name, text in _TRAFFIC.items():
            yield CounterMetricFamily(f"turn_relayed_{name}", text, value=getattr(snapshot, name))
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"turn_{name}", text, value=getattr(stats, name))
        for name, text in _SOCKETS.items():
            yield CounterMetricFamily(f"turn_socket_{name}", text, value=getattr(counters, name))
        yield _labelled("turn_requests", "Requests", "method", stats.requests)
        yield _labelled("turn_errors", "Error responses", "code", stats.errors)
        yield _labelled("turn_allocations_ended", "Allocations ended", "reason", stats.ended)


def _labelled(name: str, text: str, label: str, counts: Mapping[str, int] | Mapping[int, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    pairs: Iterable[tuple[object, int]] = counts.items()
    for value, count in pairs:
        family.add_metric([str(value)], count)
    return family


class MetricsServer:
    """A small HTTP server for one path, ``/metrics``."""

    def __init__(self, registry: CollectorRegistry, server: asyncio.Server) -> None:
        self.address = TransportAddress(*server.sockets[0].getsockname()[:2])
        """Where it listens."""
        self._registry = registry
        self._server = server

    def close(self) -> None:
        """Stop answering; harmless twice."""
        self._server.close()


_LIMIT = 8192
_PATIENCE = 5.0


async def serve_metrics(service: TurnService, address: TransportAddress) -> MetricsServer:
    """Answer Prometheus at an address; bind it where only Prometheus comes.

    Raises:
        OSError: the address cannot be bound.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(TurnCollector(service))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(head, registry))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that asks for nothing, or is gone
        finally:
            writer.close()

    server = await asyncio.start_server(answer, address.host, address.port, limit=_LIMIT)
    return MetricsServer(registry, server)


def _response(head: bytes, registry: CollectorRegistry) -> bytes:
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if method != b"GET":
        return _http("405 Method Not Allowed", "text/plain", b"GET only\n")
    if path != b"/metrics":
        return _http("404 Not Found", "text/plain", b"try /metrics\n")
    return _http("200 OK", CONTENT_TYPE_LATEST, generate_latest(registry))


def _http(status: str, kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
