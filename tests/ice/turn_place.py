"""Our own TURN server on loopback, for sessions on real sockets."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from stun.address import TransportAddress, TransportProtocol
from tests.stun.certificates import Authority
from turn.aio.service import TurnService, serve
from turn.config import TurnServerConfig
from turn.service.config import TurnServiceConfig
from turn.service.policy import PeerPolicyConfig
from turn.service.settings import Listener, ServiceSettings

USER, PASSWORD = "maria", "secret"
ALL = list(TransportProtocol)


@dataclass
class Place:
    """A server with four listeners on loopback."""

    service: TurnService
    trust: ssl.SSLContext

    def url(self, protocol: TransportProtocol) -> str:
        [address] = self.service.addresses(protocol)
        scheme = "turns" if protocol in (TransportProtocol.TLS, TransportProtocol.DTLS) else "turn"
        return f"{scheme}:{address}?transport={'tcp' if protocol.is_stream else 'udp'}"

    def server(self, protocol: TransportProtocol, password: str = PASSWORD) -> TurnServerConfig:
        return TurnServerConfig(url=self.url(protocol), username=USER, password=password, ssl_context=self.trust)


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[Place]:
    """Run a server, with its certificates in ``folder``; all allocations are to be given back in the end."""
    authority = Authority.make(folder / "ca")
    settings = ServiceSettings(
        service=TurnServiceConfig(realm="example.org", peers=PeerPolicyConfig.of(allow=["127.0.0.0/8"])),
        listeners=tuple(Listener(protocol=one, address=TransportAddress("127.0.0.1", 0)) for one in ALL),
        certificate=authority.issue("127.0.0.1"),
        users={USER: PASSWORD},
    )
    async with await serve(settings) as service:
        yield Place(service, authority.context)
        assert service.snapshot().allocations == 0
