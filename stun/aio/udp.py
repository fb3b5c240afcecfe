"""UDP on real sockets: the network that the operating system gives, one socket a base."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

from stun.address import TransportAddress
from stun.aio.interfaces import interfaces_of_this_turn
from stun.aio.netlink import watch_interfaces
from stun.aio.udp_socket import Ipv6Socket, UdpSocket, configure
from stun.config import UdpConfig
from stun.network import DatagramReceiver, DatagramSocket, Interface

__all__ = ["UdpNetwork", "UdpSocket"]


class UdpNetwork:
    """The world as the operating system gives it (:class:`stun.network.Network`)."""

    def __init__(self, config: UdpConfig | None = None) -> None:
        self.config = config or UdpConfig()

    def interfaces(self) -> Sequence[Interface]:
        """Return every address of every interface that is up, loopback included.

        A link-local IPv6 address carries its zone (``fe80::1%eth0``), because it cannot be bound without.
        """
        return interfaces_of_this_turn()

    def watch_interfaces(self, changed: Callable[[], None]) -> Callable[[], None] | None:
        """Have ``changed`` called from the loop after every change of interfaces; None where the system cannot tell."""
        return watch_interfaces(changed)

    async def resolve(self, host: str, port: int) -> Sequence[TransportAddress]:
        """Return the addresses of ``host`` (a name or an IP literal), both families, in the resolver's order.

        Raises:
            OSError: the name does not resolve.
        """
        try:
            return [TransportAddress.parse(host, port)]
        except ValueError:
            pass
        try:
            answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except UnicodeError as error:  # a label that IDNA does not take
            raise OSError(f"{host!r} is not a host name") from error
        found = (TransportAddress.parse(str(sockaddr[0]), port) for *_, sockaddr in answers)
        return list(dict.fromkeys(found))

    async def bind(self, local: TransportAddress, receiver: DatagramReceiver) -> DatagramSocket:
        """Bind a UDP socket (port 0 picks one) and deliver what arrives on it to ``receiver``.

        Raises:
            OSError: the address cannot be bound.
        """
        return self.bind_now(local, receiver)

    def bind_now(self, local: TransportAddress, receiver: DatagramReceiver) -> UdpSocket:
        """As :meth:`bind`, for callers in a running loop that cannot await.

        Raises:
            OSError: the address cannot be bound.
        """
        loop = asyncio.get_running_loop()
        version6 = local.family == 6
        bound = socket.socket(socket.AF_INET6 if version6 else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            configure(bound, self.config)
            if version6:
                bound.bind((local.host.partition("%")[0], local.port, 0, _scope(local.host)))
                return Ipv6Socket(bound, receiver, self.config, loop)
            bound.bind(local)
            return UdpSocket(bound, receiver, self.config, loop)
        except BaseException:
            bound.close()
            raise


def _scope(host: str) -> int:
    zone = host.partition("%")[2]
    if not zone:
        return 0
    return int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
