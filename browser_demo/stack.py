"""Everything that the demo needs, started together and stopped together: relay, STUN server, gateway, page, peer."""

from __future__ import annotations

import ipaddress
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

from browser_demo.config import DemoConfig
from browser_demo.peer.native import NativePeer
from browser_demo.server import PageServer
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.presence import PresenceService
from signalling.libp2p.aio.relay_service import RelayService
from signalling.libp2p.host_config import RelayConfig
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from stun.aio import StunServer, UdpNetwork, serve
from webrtc_bridge.gateway import Gateway, GatewayConfig

__all__ = ["Demo", "outside_address"]


def outside_address() -> str | None:
    """Return an address of this machine that is neither loopback nor link-local, IPv4 first; None without one.

    A direct path between a browser and a peer needs one: browsers offer no loopback candidates.
    """
    addresses = [ipaddress.ip_address(interface.host) for interface in UdpNetwork().interfaces()]
    usable = [address for address in addresses if not address.is_loopback and not address.is_link_local]
    return str(min(usable, key=lambda address: address.version)) if usable else None


class Demo:
    """The demo on this machine; use it as an asynchronous context manager."""

    relay: Host
    """The relay's host."""
    relay_service: RelayService
    """The relay itself."""
    presence: PresenceService
    """Its roster."""
    stun: StunServer
    """The STUN server."""
    gateway: Gateway
    """Where the page's WebSockets go."""
    server: PageServer
    """The page."""
    peer: NativePeer
    """The native peer."""

    def __init__(self, config: DemoConfig | None = None) -> None:
        self.config = config or DemoConfig()
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        """Where the page is."""
        return self.server.url

    @property
    def relay_address(self) -> Multiaddr:
        """The relay's TCP address, ``/p2p`` behind it; one that other machines can use, if it listens on any."""
        plain = [address for address in self.relay.addresses() if "ws" not in address.protocols()]
        return min(plain, key=lambda address: _is_loopback(address.value_for("ip4") or address.value_for("ip6")))

    @property
    def stun_urls(self) -> tuple[str, ...]:
        """The STUN server, as ``stun:`` URLs."""
        return tuple(f"stun:{address}" for address in self.stun.udp)

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        enter = self._stack.enter_async_context
        host = self.config.server.host
        family = ipaddress.ip_address(host).version
        self.relay = await enter(Host(PrivateKey.generate()))
        self.relay_service = RelayService(self.relay, RelayConfig.private())
        self._stack.push_async_callback(self.relay_service.close)
        self.presence = PresenceService(self.relay)
        self._stack.push_async_callback(self.presence.close)
        for suffix in ("", "/ws"):
            await self.relay.listen(f"/ip{family}/{host}/tcp/0{suffix}")
        # The page's own origin is loopback, but what STUN is to tell is the address that others see.
        self.stun = await enter(await serve((outside_address() or host,), 0))
        self.gateway = Gateway(self.relay_address, GatewayConfig(bind_host=host, ice_servers=self.stun_urls))
        self.server = await enter(PageServer(self.gateway, self.config.server))
        ice = self.config.peer.ice
        settings = replace(self.config.peer, ice=ice.with_servers(*ice.stun_servers, *self.stun_urls))
        self.peer = await enter(NativePeer(PrivateKey.generate(), settings, self.relay_address))


def _is_loopback(host: str | None) -> bool:
    return host is not None and ipaddress.ip_address(host).is_loopback
