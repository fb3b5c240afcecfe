"""The asyncio half of relayed candidates: names of TURN servers and credentials, all fetched at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from ice.agent import Agent
from ice.config import IceConfig
from ice.exposure import ExposureMode
from ice.relay import RelayTarget
from stun.address import TransportProtocol
from stun.network import Network
from turn.aio.credentials import fetch_credentials
from turn.aio.resolve import Target, locate_turn
from turn.config import TurnServerConfig
from turn.errors import TurnError, TurnTimeoutError

__all__ = ["find_relays"]

_PROXY = ExposureMode.PROXY


async def find_relays(
    agent: Agent, config: IceConfig, network: Network, rng: random.Random, pump: Callable[[], None]
) -> None:
    """Have the agent ask every TURN server as soon as its address is known; return when all are known or given up.

    Each server is asked once for every address family that its name has. A server that is asked over UDP is also asked
    for reflexive addresses of our bases, with Binding requests.
    """
    loop = asyncio.get_running_loop()

    async def find(server: TurnServerConfig) -> None:
        try:
            async with asyncio.timeout(config.gathering_timeout):
                credentials = await fetch_credentials(server)
                targets = await locate_turn(server.uri, network, rng, server.client.resolver)
        except TimeoutError:
            text = f"no address or no credentials within {config.gathering_timeout:g} s"
            agent.relays.server_failed(server, TurnTimeoutError(text, server=server.url), loop.time())
        except TurnError as error:
            agent.relays.server_failed(server, error, loop.time())
        else:
            allowed = [target for target in targets if config.exposure is not _PROXY or target.protocol.is_stream]
            if not allowed:
                text = "it is reached by neither TCP nor TLS, and nothing else may be used"
                agent.relays.server_failed(server, TurnError(text, server=server.url), loop.time())
            for target in _one_of_each_family(allowed):
                relay_target = RelayTarget(target.address, target.protocol, target.name)
                agent.relays.add_server(server, relay_target, loop.time(), credentials)
                if target.protocol is TransportProtocol.UDP and not config.relays_only:
                    agent.add_stun_server(target.address, loop.time())
        pump()

    tasks = [asyncio.create_task(find(server), name=f"ice: find {server.url}") for server in config.turn_servers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _one_of_each_family(targets: list[Target]) -> list[Target]:
    # Those that the resolver put first.
    return list({target.address.family: target for target in reversed(targets)}.values())
