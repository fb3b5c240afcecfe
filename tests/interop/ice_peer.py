"""An ICE agent of another implementation in a process of its own, and what our session and it do together."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import ice
from ice.candidate import Candidate
from ice.description import Description
from tests.interop.json_peer import JsonPeer, json_peer
from tests.tools import JS_FOLDER, ROOT, libnice

__all__ = ["IcePeer", "gather_then_meet", "libnice_peer", "restart_and_meet", "talk", "trickle_and_meet", "werift_peer"]

Filter = Callable[[Candidate], bool]
HERE = ROOT / "tests" / "interop"


class IcePeer:
    """One agent over there, driven by the commands that ``js/ice.mjs`` describes."""

    def __init__(self, process: JsonPeer, ready: dict[str, Any]) -> None:
        self.process = process
        self.version: str = ready["version"]
        self.description = Description(ready["ufrag"], ready["pwd"], options=())
        self.candidates: list[Candidate] = []
        """All of them, once it has gathered."""
        self.hears_the_end = True
        """Whether it is told that there are no more candidates."""

    async def remote(self, description: Description) -> None:
        await self.process.do("remote", ufrag=description.ufrag, pwd=description.pwd, lite=description.lite)

    async def gather(self) -> list[Candidate]:
        answer = await self.process.do("gather")
        self.candidates = [Candidate.from_sdp(text) for text in answer["candidates"]]
        return self.candidates

    async def next_candidate(self) -> Candidate | None:
        """The next that it finds, each once, or None when there are no more."""
        text = (await self.process.event("candidate", take=True))["sdp"]
        return None if text is None else Candidate.from_sdp(text)

    async def tell(self, candidate: Candidate | None) -> None:
        if candidate is None and not self.hears_the_end:
            return
        await self.process.do("candidate", sdp=candidate and candidate.to_sdp().removeprefix("candidate:"))

    async def connect(self) -> None:
        await self.process.do("connect")

    async def send(self, data: bytes) -> None:
        await self.process.do("send", data=base64.b64encode(data).decode())

    async def receive(self) -> bytes:
        return base64.b64decode((await self.process.event("data", take=True))["data"])

    async def selected(self) -> tuple[Candidate, Candidate]:
        """Its local and remote candidate of the selected pair."""
        answer = await self.process.do("selected")
        return Candidate.from_sdp(answer["local"]), Candidate.from_sdp(answer["remote"])

    async def role(self) -> ice.Role:
        controlling = (await self.process.do("role"))["controlling"]
        return ice.Role.CONTROLLING if controlling else ice.Role.CONTROLLED

    async def restart(self, role: ice.Role | None = None) -> Description:
        """New credentials there; they are in :attr:`description` from now on."""
        controlling = None if role is None else role is ice.Role.CONTROLLING
        answer = await self.process.do("restart", controlling=controlling)
        self.description = Description(answer["ufrag"], answer["pwd"], options=())
        self.process.events[:] = [event for event in self.process.events if event["event"] != "candidate"]
        return self.description


@asynccontextmanager
async def werift_peer(node: Path, role: ice.Role, **options: Any) -> AsyncIterator[IcePeer]:
    """Run werift in ``role`` with these options (see ice.mjs)."""
    options = {"controlling": role is ice.Role.CONTROLLING, **options}
    async with json_peer(node, "ice.mjs", folder=JS_FOLDER, options=options) as process:
        yield IcePeer(process, await process.event("ready"))


@asynccontextmanager
async def libnice_peer(role: ice.Role, **options: Any) -> AsyncIterator[IcePeer]:
    """Run libnice in ``role`` with the options of ice.mjs."""
    options = {"controlling": role is ice.Role.CONTROLLING, **options}
    async with json_peer(str(libnice().path), "libnice_agent.py", folder=HERE, options=options) as process:
        yield IcePeer(process, await process.event("ready"))


def everything(candidate: Candidate) -> bool:
    return True


async def gather_then_meet(session: ice.Session, peer: IcePeer, only: Filter = everything) -> None:
    """Gather on both sides, tell all of it at once, and connect."""
    await asyncio.gather(session.gather(), peer.gather())
    await peer.remote(session.local_description)
    session.set_remote_description(peer.description)
    for ours in filter(only, session.local_candidates):
        await peer.tell(ours)
    await peer.tell(None)
    for theirs in filter(only, peer.candidates):
        session.add_remote_candidate(theirs)
    session.add_remote_candidate(None)
    await both(session.connect(), peer.connect())


async def trickle_and_meet(session: ice.Session, peer: IcePeer, only: Filter = everything) -> None:
    """Connect with candidates that are told as they are found, each a little later than the one before."""
    session.set_remote_description(peer.description)
    await peer.remote(session.local_description)
    found: asyncio.Queue[Candidate | None] = asyncio.Queue()
    session.on("candidate", found.put_nowait)

    async def tell_ours() -> None:
        while (candidate := await found.get()) is not None:
            if only(candidate):
                await asyncio.sleep(0.01)
                await peer.tell(candidate)
        await peer.tell(None)

    async def tell_theirs() -> None:
        while (candidate := await peer.next_candidate()) is not None:
            if only(candidate):
                await asyncio.sleep(0.01)
                session.add_remote_candidate(candidate)
        session.add_remote_candidate(None)

    # The programs take commands in their order: it gathers before it connects.
    await both(peer.gather(), session.connect(), peer.connect(), tell_ours(), tell_theirs())


async def restart_and_meet(session: ice.Session, peer: IcePeer, *, ours_first: bool, only: Filter = everything) -> None:
    """Restart ICE, begun by us or by the peer, until both have a pair of the new generation."""
    found: asyncio.Queue[Candidate | None] = asyncio.Queue()
    described: asyncio.Queue[Description] = asyncio.Queue()
    selected: asyncio.Queue[object] = asyncio.Queue()
    session.on("candidate", found.put_nowait)
    session.on("restart", described.put_nowait)
    session.on("selectedpair", selected.put_nowait)
    if ours_first:
        session.restart()
    session.set_remote_description(await peer.restart())
    await peer.remote(await described.get())
    await peer.gather()
    while (ours := await found.get()) is not None:
        if only(ours):
            await peer.tell(ours)
    await peer.tell(None)
    session.send(b"on the old pair")
    assert await peer.receive() == b"on the old pair"
    for theirs in filter(only, peer.candidates):
        session.add_remote_candidate(theirs)
    session.add_remote_candidate(None)
    await both(peer.connect(), selected.get())


async def both(*parts: Awaitable[Any]) -> None:
    """Wait for all; the first error ends them all and is raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def talk(session: ice.Session, peer: IcePeer, *sizes: int) -> None:
    """Pass data of these sizes, or of some that a datagram may have, both ways."""
    for size in sizes or (1, 20, 1200, 1400):
        session.send(b"\x80" * size)
        assert await peer.receive() == b"\x80" * size
        await peer.send(b"\x20" * size)
        assert await session.receive() == b"\x20" * size
