"""A crowd at one port: what waits to be read there is read before anything is sent again."""

from __future__ import annotations

import asyncio

import ice
from stun.aio import UdpNetwork
from tests.steady_loop import SteadyLoop

PAIRS = 200
LOOK = 0.0001
"""How long each look at the clock takes, in seconds."""


class SlowMachine(SteadyLoop):
    """A loop on which everything takes its time, whatever this machine is: every look at the clock moves it on."""

    _looks = 0

    def time(self) -> float:
        """Return the time."""
        self._looks += 1
        return super().time() + self._looks * LOOK


async def requests_of_a_crowd() -> list[int]:
    """Connect all pairs at once, through one port for each side; return what each session has sent until then."""
    config = ice.IceConfig(include_ipv6=False, include_loopback=True, tcp=ice.TcpConfig(candidates=frozenset()))
    hosts = [next(each.host for each in UdpNetwork().interfaces() if each.host.startswith("127."))]
    async with ice.Mux.open(hosts=hosts) as near, ice.Mux.open(hosts=hosts) as far:
        controlling = [ice.Session(ice.Role.CONTROLLING, config, near) for _ in range(PAIRS)]
        controlled = [ice.Session(ice.Role.CONTROLLED, config, far) for _ in range(PAIRS)]
        everyone = [*controlling, *controlled]
        await asyncio.gather(*(session.gather() for session in everyone))
        for session, peer in zip(everyone, [*controlled, *controlling], strict=True):
            session.set_remote_description(peer.local_description)
            for candidate in peer.local_candidates:
                session.add_remote_candidate(candidate)
            session.add_remote_candidate(None)
        await asyncio.gather(*(session.connect() for session in everyone))
        sent = [sum(pair.requests_sent for pair in session.stats().agent.pairs) for session in everyone]
        await asyncio.gather(*(session.close() for session in everyone))
    return sent


def test_a_crowd_at_a_port_sends_no_check_twice() -> None:
    # Two datagrams a check are on their way at a time, and one wake-up reads 64 of 400 in the same socket.
    with asyncio.Runner(loop_factory=SlowMachine) as runner:
        sent = runner.run(requests_of_a_crowd())
    assert sum(sent) == 2 * PAIRS, "a check of each side, of which one nominates"
