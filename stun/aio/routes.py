"""Which of our addresses the system would send from."""

from __future__ import annotations

from stun.address import TransportAddress
from stun.network import ConnectableSocket, Network

__all__ = ["route_to"]

_ANY = {4: "0.0.0.0", 6: "::"}


async def route_to(server: TransportAddress, network: Network) -> str:
    """Return the address of ours from which packets to ``server`` leave, without sending any.

    Raises:
        OSError: there is no route, or the network cannot tell.
    """
    bound = await network.bind(TransportAddress(_ANY[server.family], 0), lambda data, remote: None)
    try:
        twin = bound.connect(server) if isinstance(bound, ConnectableSocket) else None
        if twin is None:
            raise OSError(f"no route to {server.host}")
        twin.close()
        return twin.local.host
    finally:
        bound.close()
