from __future__ import annotations

import asyncio

import pytest

from ice.aio.exchange import ExchangeConfig, StreamExchange, exchange_pair
from ice.description import Description, EndOfCandidates
from ice.exchange import ExchangeError, Item, encode_item
from tests.simulation import virtual_time

ITEMS: list[Item] = [Description("abcd", "p" * 24), EndOfCandidates("abcd")]


async def everything(exchange: StreamExchange) -> list[Item]:
    return [item async for item in exchange]


def reading(*chunks: bytes, config: ExchangeConfig | None = None) -> StreamExchange:
    reader = asyncio.StreamReader()
    for chunk in chunks:
        reader.feed_data(chunk)
    reader.feed_eof()
    return StreamExchange(reader, None, config)  # type: ignore[arg-type]


@virtual_time
async def test_a_pair_carries_both_ways_in_order() -> None:
    first, second = exchange_pair()
    for item in ITEMS:
        await first.send(item)
        await second.send(item)
    first.close()
    assert [item async for item in second] == []
    with pytest.raises(ExchangeError, match="closed"):
        await second.send(ITEMS[0])


@virtual_time
async def test_what_was_sent_before_closing_waits_for_a_reader() -> None:
    first, second = exchange_pair()
    heard: list[Item] = []

    async def hear() -> None:
        async for item in second:
            heard.append(item)

    listener = asyncio.create_task(hear())
    for item in ITEMS:
        await first.send(item)
    await asyncio.sleep(0.1)
    first.close()
    await listener
    assert heard == ITEMS


@virtual_time
async def test_a_pair_is_bounded() -> None:
    first, _second = exchange_pair(ExchangeConfig(max_items=3))
    for _ in range(3):
        await first.send(ITEMS[1])
    with pytest.raises(ExchangeError, match="more than 3"):
        await first.send(ITEMS[1])


@virtual_time
async def test_a_stream_cut_anywhere_is_put_together() -> None:
    whole = b"".join(encode_item(item).encode() + b"\n" for item in ITEMS)
    for cut in range(len(whole)):
        assert await everything(reading(whole[:cut], whole[cut:])) == ITEMS


@virtual_time
async def test_unknown_types_are_passed_over() -> None:
    line = encode_item(ITEMS[1]).encode() + b"\n"
    assert await everything(reading(b'{"type":"future"}\n', line)) == [ITEMS[1]]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"nonsense\n", "not JSON"),
        (b'{"type":"end-of-ca', "within a line"),
        (b"x" * 9000 + b"\n", "too long"),
        (b"x" * 200_000, "too long"),
    ],
)
@virtual_time
async def test_a_broken_stream_is_an_error(text: bytes, complaint: str) -> None:
    with pytest.raises(ExchangeError, match=complaint):
        await everything(reading(text))


@virtual_time
async def test_a_peer_that_never_stops_is_stopped() -> None:
    with pytest.raises(ExchangeError, match="more than 5"):
        await everything(reading(b'{"type":"future"}\n' * 10, config=ExchangeConfig(max_items=5)))


async def test_over_a_real_tcp_connection() -> None:
    heard: asyncio.Queue[Item | None] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for item in StreamExchange(reader, writer):
            await heard.put(item)
        await StreamExchange(reader, writer).send(ITEMS[1])
        writer.close()
        await writer.wait_closed()
        await heard.put(None)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(host, port)
        exchange = StreamExchange(reader, writer)
        for item in ITEMS:
            await exchange.send(item)
        writer.write_eof()
        assert [await heard.get() for _ in ITEMS] == ITEMS
        assert await everything(exchange) == [ITEMS[1]]
        assert await heard.get() is None
        writer.close()
        await writer.wait_closed()
