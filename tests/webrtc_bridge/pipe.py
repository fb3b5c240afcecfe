"""ICE sessions joined by an in-memory pipe: what the bridge's tests ride on when ICE itself is not under test."""

from __future__ import annotations

import asyncio
from collections import deque

from pyee.asyncio import AsyncIOEventEmitter

from ice import Candidate, CandidateType, Description, IceError, Role, State
from stun.address import TransportAddress

MAX_QUEUE = 4096


class PipeSession(AsyncIOEventEmitter):
    """The face of :class:`ice.Session` over a pipe; ``drop`` decides which datagrams get lost."""

    def __init__(self, role: Role) -> None:
        super().__init__()
        self.role = role
        self.state = State.NEW
        self.local_description = Description(f"{role.value[:4]}", f"{role.value:x<24}")
        self.remote_description: Description | None = None
        self.local_candidates: list[Candidate] = []
        self.remote_candidates: list[Candidate | None] = []
        self.selected_pair = None
        self.gathering_complete = False
        self.other: PipeSession | None = None
        self.sent = 0
        self.drop = lambda data: False
        self.latency = 0.0
        self._arrived: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._over: str | None = None

    def set_remote_description(self, description: Description) -> None:
        self.remote_description = description
        self._wake.set()

    def roll_back(self) -> None:
        """It never restarts."""

    def add_remote_candidate(self, candidate: Candidate | None) -> None:
        self.remote_candidates.append(candidate)
        self._wake.set()

    async def gather(self) -> None:
        await asyncio.sleep(0)
        address = TransportAddress("192.0.2.1", 1000 + len(self.role))
        candidate = Candidate("1", 1, "udp", 2130706431, address, CandidateType.HOST)
        self.local_candidates.append(candidate)
        self.emit("candidate", candidate)
        self.gathering_complete = True
        self.emit("candidate", None)

    async def connect(self) -> None:
        while not (self.remote_description and any(self.remote_candidates)):
            self._wake.clear()
            await self._wake.wait()
        self._set_state(State.CONNECTED)

    def send(self, data: bytes) -> None:
        if self._over is not None:
            raise IceError(self._over)
        self.sent += 1
        other = self.other
        if other is None or self.drop(data):
            return
        if self.latency:
            asyncio.get_running_loop().call_later(self.latency, other.deliver, data)
        else:
            asyncio.get_running_loop().call_soon(other.deliver, data)

    def deliver(self, data: bytes) -> None:
        if len(self._arrived) < MAX_QUEUE and self._over is None:
            self._arrived.append(data)
            self._wake.set()

    async def receive(self) -> bytes:
        while not self._arrived:
            if self._over is not None:
                raise IceError(self._over)
            self._wake.clear()
            await self._wake.wait()
        return self._arrived.popleft()

    def fail(self, reason: str) -> None:
        """End the session as lost consent does."""
        self._over = reason
        self._wake.set()
        self._set_state(State.FAILED)
        self.emit("closed", reason)

    async def close(self) -> None:
        if self._over is None:
            self._over = "the session was closed"
            self._wake.set()
            self._set_state(State.CLOSED)
            self.emit("closed", self._over)

    def _set_state(self, state: State) -> None:
        self.state = state
        self.emit("statechange", state)


def pipe() -> tuple[PipeSession, PipeSession]:
    """Return a controlling and a controlled session that are joined."""
    one, other = PipeSession(Role.CONTROLLING), PipeSession(Role.CONTROLLED)
    one.other, other.other = other, one
    return one, other
