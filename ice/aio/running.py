"""A session at work on asyncio: what it owns, how it gathers, and what becomes of what its agent tells."""

from __future__ import annotations

import asyncio
import logging
import random

from ice.agent import Agent
from ice.aio.driver import AgentDriver
from ice.aio.emitter import QuietEmitter
from ice.aio.flag import Flag
from ice.aio.gathering import Gatherer, stun_servers
from ice.aio.inbox import Inbox
from ice.aio.roaming import Roaming
from ice.aio.route import Route
from ice.aio.stats import Traffic
from ice.candidate import Candidate, CandidateType
from ice.config import IceConfig
from ice.errors import FailureReason, IceError, error_for
from ice.events import (
    CandidateErrorFound,
    Event,
    GatheringCompleted,
    GatheringSettled,
    LocalCandidateFound,
    PairSelected,
    Restarted,
    RestartWanted,
    StateChanged,
)
from ice.lite import narrowed
from ice.roles import Role
from stun.aio import UdpNetwork
from stun.network import Network

__all__ = ["RunningSession"]

logger = logging.getLogger("ice")

_SYSTEM = random.SystemRandom()  # It has no state, but takes 2.5 KB all the same: one serves every session.
_MACHINE = UdpNetwork()


class RunningSession(QuietEmitter):
    """What a :class:`~ice.aio.session.Session`, which has the arguments and the events explained, does by itself."""

    def __init__(
        self,
        role: Role = Role.CONTROLLING,
        config: IceConfig | None = None,
        network: Network | None = None,
        rng: random.Random | None = None,
        agent: Agent | None = None,
    ) -> None:
        super().__init__()
        self._config = narrowed(config or IceConfig())
        self._network = network or _MACHINE
        self._servers = tuple(stun_servers(self._config))
        self._rng = rng or _SYSTEM
        self._agent = agent or Agent(self._config, role, rng=self._rng)
        self._driver: AgentDriver | None = None
        self._gatherer: Gatherer | None = None
        self._gathering: asyncio.Task[None] | None = None
        self._began_gathering = False
        self._roaming: Roaming | None = None
        self._gathered = Flag()
        self._complete = Flag()
        self._decided = Flag()
        self._reason: FailureReason | None = None
        self._remote_candidates: tuple[Candidate, ...] = ()
        self._inbox = Inbox(self._config.max_queued_datagrams)
        self._traffic = Traffic()
        self._agent.set_traffic(self._count_traffic)
        self._selections = 0
        self._route = Route(self._config.own_socket_after)

    def _count_traffic(self) -> tuple[int, int]:
        return self._inbox.packets, self._traffic.packets_sent

    def _driver_now(self) -> AgentDriver:
        if self._driver is None:
            self._driver = AgentDriver(
                self._agent, self._network, self._on_event, self._inbox.put, self._traffic, self._config
            )
        return self._driver

    def pump(self) -> None:
        """Carry out what the agent has to do because of something that did not come by this session."""
        if self._driver is not None:
            self._driver.pump()

    def _start_gathering(self) -> None:
        if self._reason is not None:
            raise self._failure(self._reason)
        if not self._began_gathering:
            driver = self._driver_now()
            self._began_gathering = True
            args = (self._agent, self._config, self._servers, self._network, self._rng, driver, self._route)
            self._gatherer = Gatherer(*args)
            self._gathering = asyncio.create_task(self._gather(self._gatherer, driver), name="ice: gathering")

    async def _gather(self, gatherer: Gatherer, driver: AgentDriver) -> None:
        await gatherer.run()
        if driver.seat is None:  # Else the sockets are others' too, and stay where they are.
            self._roaming = Roaming(self._config.roaming, self._network, gatherer)
            if self._reason is None:
                self._roaming.start()
        self._gatherer = self._gathering = None

    def _on_event(self, event: Event) -> None:
        # What every session has comes first, and is told apart without patterns, which take their time.
        if isinstance(event, StateChanged):
            self._on_state(event)
        elif isinstance(event, PairSelected):
            self._selections += 1
            self._route.follow(self._agent.selected_path, self._driver_now())
            self._tell("selectedpair", event.pair)
        else:
            self._on_rarer_event(event)

    def _on_state(self, event: StateChanged) -> None:
        state = event.new
        self._route.follow(self._agent.selected_path, self._driver_now())
        self._tell("statechange", state)
        if state.is_over:
            self._end(event.reason or FailureReason.CHECKS_FAILED)
        elif state.is_usable:
            self._decided.set()

    def _on_rarer_event(self, event: Event) -> None:
        match event:
            case LocalCandidateFound(candidate):
                if candidate.type is CandidateType.SERVER_REFLEXIVE and self._gatherer is not None:
                    self._gatherer.note_answer()
                self._tell("candidate", candidate)
            case GatheringSettled():
                self._tell("gathered", None)
                self._gathered.set()
            case GatheringCompleted():
                self._tell("candidate", None)
                self._complete.set()
            case CandidateErrorFound():
                logger.info("%s", event.error_text)
                self._tell("candidateerror", event)
            case Restarted(description):
                self._gathered.clear()
                self._complete.clear()
                self._tell("restart", description)
            case RestartWanted(why):
                self._tell("restartwanted", why)  # The role, which may change as well, is a property.

    def _end(self, reason: FailureReason) -> None:
        """The session is over: free what it holds and tell everyone who waits, the listeners first."""
        if self._reason is not None:
            return
        self._reason = reason
        self._route.close()
        if self._roaming is not None:
            self._roaming.stop()
        if self._driver is not None:
            self._driver.retire()
        self._tell("closed", reason)
        self._inbox.close(self._failure(reason), discard=False)
        self._gathered.set()
        self._complete.set()
        self._decided.set()

    def _tell(self, event: str, argument: object) -> None:
        # Not from within our caller: a handler may call us back, or raise.
        if self.listeners(event):
            asyncio.get_running_loop().call_soon(self.emit, event, argument)

    def _failure(self, reason: FailureReason) -> IceError:
        return error_for(reason, self._agent.failure_detail)
