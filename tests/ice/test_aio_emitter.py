"""An emitter without tables behaves like one that has them."""

from __future__ import annotations

import pytest
from pyee.asyncio import AsyncIOEventEmitter

from ice.aio.emitter import QuietEmitter


class Told(QuietEmitter):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[object] = []


def test_there_is_nothing_until_somebody_listens() -> None:
    emitter = Told()
    assert emitter.listeners("event") == []
    assert vars(emitter) == {"heard": []}
    emitter.on("event", emitter.heard.append)
    assert emitter.listeners("event") == [emitter.heard.append]
    assert emitter.emit("event", 1)
    assert emitter.heard == [1]
    assert vars(emitter).keys() > vars(AsyncIOEventEmitter()).keys()


@pytest.mark.parametrize("first", ["emit", "event_names", "remove_all_listeners", "cancel"])
def test_whatever_is_called_first(first: str) -> None:
    arguments = ("event",) if first == "emit" else ()
    assert getattr(QuietEmitter(), first)(*arguments) == getattr(AsyncIOEventEmitter(), first)(*arguments)


async def test_coroutines_of_listeners_run() -> None:
    emitter = Told()

    @emitter.on("event")
    async def listen(what: object) -> None:
        emitter.heard.append(what)

    emitter.emit("event", 2)
    await emitter.wait_for_complete()
    assert emitter.heard == [2]
    assert emitter.complete


def test_what_is_missing_is_missing() -> None:
    emitter = QuietEmitter()
    for _ in range(2):
        with pytest.raises(AttributeError, match="'QuietEmitter' object has no attribute 'nothing'"):
            _ = emitter.nothing  # type: ignore[attr-defined]


def test_attributes_are_looked_up_as_those_of_any_class() -> None:
    assert not hasattr(QuietEmitter, "__getattr__"), "with one Python 3.11 takes three times as long for each"
    assert set(vars(AsyncIOEventEmitter())) <= set(vars(QuietEmitter)), "all that pyee makes is made late"
