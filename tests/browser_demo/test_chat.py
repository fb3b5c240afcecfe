from __future__ import annotations

import asyncio

import pytest

from browser_demo.peer.chat import PROTOCOL, ChatService
from browser_demo.peer.echo import PROTOCOL as ECHO
from browser_demo.peer.messages import read_json, write_json
from browser_demo.peer.words import GREETING
from signalling.libp2p.aio.streams import Stream
from tests.browser_demo.peers import Visit, visit


async def say(here: Visit, text: str) -> str:
    stream = await here.open(PROTOCOL)
    await write_json(stream, {"type": "message", "id": "1", "text": text})
    assert await read_json(stream, 32768) == {"type": "received", "id": "1"}
    answer = await read_json(stream, 32768)
    assert answer["type"] == "message"
    await stream.close()
    return str(answer["text"])


async def test_the_peer_answers_on_the_same_stream() -> None:
    async with visit() as here:
        heard: list[str] = []
        here.peer.on("chat", lambda sender, text: heard.append(text))

        assert await say(here, "good evening") == "You said: good evening"
        assert heard == ["good evening"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("help", "send NAME"),
        ("Hello!", "Hello to you"),
        ("files", "sample.bin (1,000 bytes)"),
        ("path?", "directly"),
        ("time", "Python 3"),
        ("send nothing", "no such file"),
    ],
)
async def test_commands(text: str, answer: str) -> None:
    async with visit() as here:
        assert answer in await say(here, text)


async def test_messages_without_sense_are_passed_over() -> None:
    async with visit() as here:
        stream = await here.open(PROTOCOL)
        for message in ({}, {"type": "message"}, {"type": "message", "text": 5}, {"type": "?", "text": "x"}):
            await write_json(stream, message)
        await write_json(stream, {"type": "message", "id": "x" * 1000, "text": "no receipt"})

        assert (await read_json(stream, 32768))["text"] == "You said: no receipt"
        await stream.close()


async def test_a_long_text_is_cut_and_an_oversize_message_ends_the_stream() -> None:
    async with visit() as here:
        assert len(await say(here, "x" * 20_000)) == 4000
        stream = await here.open(PROTOCOL)
        await write_json(stream, {"type": "message", "id": "1", "text": "x" * 50_000})
        with pytest.raises(ConnectionError):
            await read_json(stream, 32768)


async def test_who_speaks_chat_is_greeted() -> None:
    texts: asyncio.Queue[str] = asyncio.Queue()

    async def listen(stream: Stream, text: str) -> None:
        texts.put_nowait(text)

    async with visit() as here:
        ChatService(here.guest, listen)

        async with asyncio.timeout(5):
            assert await texts.get() == GREETING


async def test_a_guest_that_tells_more_about_itself_is_not_greeted_again() -> None:
    texts: list[str] = []

    async def listen(stream: Stream, text: str) -> None:
        texts.append(text)

    async with visit() as here:
        told: asyncio.Queue[object] = asyncio.Queue()
        here.peer.host.on("identified", told.put_nowait)
        ChatService(here.guest, listen)
        for number in range(5):
            here.guest.handle(f"/news/{number}", listen_to_nothing)
            async with asyncio.timeout(5):
                await told.get()
        assert await say(here, "done") == "You said: done"
        assert texts == [GREETING]
        assert len(here.peer._tasks) == 1


async def listen_to_nothing(stream: Stream) -> None:
    """Serve a protocol that nobody asks for."""


async def test_echo_sends_everything_back_and_half_closes() -> None:
    async with visit() as here:
        stream = await here.open(ECHO)
        await stream.write(b"over and back")
        await stream.close_write()

        received = b""
        while data := await stream.read():
            received += data
        assert received == b"over and back"
        await stream.close()


@pytest.mark.parametrize(
    "message", [rb'{"type":"message","id":"1","text":"\ud800"}', rb'{"type":"message","id":"\ud800"}']
)
async def test_half_a_character_ends_the_stream_and_nothing_else(message: bytes) -> None:
    async with visit() as here:
        heard: list[str] = []
        here.peer.on("chat", lambda sender, text: heard.append(text))
        stream = await here.open(PROTOCOL)
        await stream.write_delimited(message)
        with pytest.raises(ConnectionError):
            await read_json(stream, 32768)

        assert heard == []
        assert await say(here, "whole") == "You said: whole"
