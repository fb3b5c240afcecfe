from __future__ import annotations

import asyncio
import hashlib
import os
import random
from pathlib import Path
from typing import Any

import pytest

from browser_demo.config import FileConfig
from browser_demo.errors import FileRefused
from browser_demo.peer.files import FILE_PROTOCOL, REQUEST_PROTOCOL, FileService, Transferred
from browser_demo.peer.messages import read_json, write_json
from browser_demo.peer.store import FileStore, SharedFile
from signalling.libp2p.aio.streams import Stream
from tests.browser_demo.peers import visit

DATA = random.Random(1).randbytes(300_000)
DIGEST = hashlib.sha256(DATA).hexdigest()
LIMIT = 65536


def header(**changes: Any) -> dict[str, Any]:
    return {"name": "a.bin", "size": len(DATA), "sha256": DIGEST} | changes


async def ended(stream: Stream) -> bool:
    """Whether the peer ended or reset the stream without another byte."""
    try:
        return await stream.read() == b""
    except ConnectionError:
        return True


async def test_a_file_is_stored_and_its_hash_confirmed() -> None:
    async with visit() as here:
        stream = await here.open(FILE_PROTOCOL)
        await write_json(stream, header(name="../a.bin"))
        assert await read_json(stream, LIMIT) == {"accept": True}
        await stream.write(DATA)
        await stream.close_write()

        assert await read_json(stream, LIMIT) == {"ok": True, "size": len(DATA), "sha256": DIGEST}
        assert here.peer.store.received[0].read_bytes() == DATA
        assert here.files == [Transferred(here.guest.peer_id, "a.bin", len(DATA), DIGEST, inbound=True, ok=True)]
        await stream.close()


async def test_a_wrong_hash_is_told_and_nothing_is_kept() -> None:
    async with visit() as here:
        stream = await here.open(FILE_PROTOCOL)
        await write_json(stream, header(sha256="00" * 32))
        await read_json(stream, LIMIT)
        await stream.write(DATA)
        await stream.close_write()

        assert (await read_json(stream, LIMIT))["ok"] is False
        assert here.peer.store.received == ()
        assert [file.ok for file in here.files] == [False]
        await stream.close()


async def test_a_short_file_fails() -> None:
    async with visit() as here:
        stream = await here.open(FILE_PROTOCOL)
        await write_json(stream, header())
        await read_json(stream, LIMIT)
        await stream.write(DATA[:-1])
        await stream.close_write()

        assert await read_json(stream, LIMIT) == {
            "ok": False,
            "size": len(DATA) - 1,
            "sha256": hashlib.sha256(DATA[:-1]).hexdigest(),
        }
        await stream.close()


async def test_more_bytes_than_announced_end_the_stream() -> None:
    async with visit() as here:
        stream = await here.open(FILE_PROTOCOL)
        await write_json(stream, header(size=10))
        await read_json(stream, LIMIT)
        await stream.write(DATA[:11])

        assert await ended(stream)
        assert here.peer.store.received == ()


async def test_a_file_above_the_limit_is_refused_politely() -> None:
    async with visit(FileConfig(max_file=1000)) as here:
        stream = await here.open(FILE_PROTOCOL)
        await write_json(stream, header())

        answer = await read_json(stream, LIMIT)
        assert answer["accept"] is False
        assert "1000" in answer["reason"]
        await stream.close()


@pytest.mark.parametrize(
    "message",
    [
        b"[]",
        b"{",
        b"{}",
        b"\xff\xfe",
        b"[" * 50_000,
        b'{"name":1,"size":1,"sha256":"a"}',
        b'{"name":"a","size":true,"sha256":"a"}',
        b'{"name":"a","size":1e3,"sha256":"a"}',
        b'{"name":"a","size":5,"sha256":null}',
    ],
)
async def test_a_header_that_is_none_ends_the_stream(message: bytes) -> None:
    async with visit() as here:
        for protocol in (FILE_PROTOCOL, REQUEST_PROTOCOL):
            stream = await here.open(protocol)
            await stream.write_delimited(message)
            if protocol == FILE_PROTOCOL:
                assert await ended(stream)
            await stream.reset()
        assert here.peer.store.received == ()
        assert here.connection.closed is False


async def test_a_sender_that_stalls_is_given_up() -> None:
    async with visit(FileConfig(idle_timeout=0.05)) as here:
        stream = await here.open(FILE_PROTOCOL)
        await write_json(stream, header())
        await read_json(stream, LIMIT)

        assert await ended(stream)
        assert here.peer.store.received == ()


async def test_peers_ask_for_what_is_shared(tmp_path: Path) -> None:
    (tmp_path / "shared.bin").write_bytes(DATA)
    async with visit(share=tmp_path) as here:
        arrived: asyncio.Queue[Transferred] = asyncio.Queue()
        with FileStore() as store:
            service = FileService(here.guest, store, arrived.put_nowait)
            stream = await here.open(REQUEST_PROTOCOL)
            await write_json(stream, {"list": True})
            assert await read_json(stream, LIMIT) == {"files": [{"name": "shared.bin", "size": len(DATA)}]}
            await stream.close()

            stream = await here.open(REQUEST_PROTOCOL)
            await write_json(stream, {"get": "shared.bin"})
            assert await read_json(stream, LIMIT) == {"ok": True}
            await stream.close()

            async with asyncio.timeout(10):
                done = await arrived.get()
            assert (done.name, done.sha256, done.ok, done.inbound) == ("shared.bin", DIGEST, True, True)
            assert store.received[0].read_bytes() == DATA
            await service.close()


async def test_what_is_not_shared_is_refused(tmp_path: Path) -> None:
    async with visit(share=tmp_path) as here:
        for name in ("../x", "nothing"):
            stream = await here.open(REQUEST_PROTOCOL)
            await write_json(stream, {"get": name})
            assert await read_json(stream, LIMIT) == {"ok": False, "reason": "no such file is shared"}
            await stream.close()


async def test_a_refusal_by_the_receiver_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(DATA)
    async with visit() as here:
        with FileStore(FileConfig(max_file=10)) as store:
            FileService(here.guest, store)
            back = here.peer.host.connections(here.guest.peer_id)[0]
            with pytest.raises(FileRefused, match="10 bytes"):
                await here.peer.files.send(back, SharedFile("a.bin", path, len(DATA)))


async def test_a_name_of_many_bytes_is_cut() -> None:
    async with visit() as here:
        stream = await here.open(FILE_PROTOCOL)
        await write_json(stream, header(name="\N{GRINNING FACE}" * 120))
        assert await read_json(stream, LIMIT) == {"accept": True}
        await stream.write(DATA)
        await stream.close_write()

        assert (await read_json(stream, LIMIT))["ok"] is True
        assert here.peer.store.received[0].name == "\N{GRINNING FACE}" * 63
        await stream.close()


async def test_a_shared_file_without_a_readable_name_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"latin-1")
    (tmp_path / "good.txt").write_bytes(b"utf-8")
    async with visit(share=tmp_path) as here:
        stream = await here.open(REQUEST_PROTOCOL)
        await write_json(stream, {"list": True})

        assert await read_json(stream, LIMIT) == {"files": [{"name": "good.txt", "size": 5}]}
        await stream.close()
