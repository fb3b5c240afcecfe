"""The command, as a process of its own."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from stun.__main__ import main
from stun.aio import serve
from tests.stun.certificates import Authority

ROOT = Path(__file__).resolve().parent.parent.parent


async def run(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "stun",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("flags", [[], ["--tcp"], ["--ipv4"]])
async def test_it_prints_the_address(flags: list[str]) -> None:
    async with await serve(["127.0.0.1"], 0) as server:
        status, out, err = await run(str(server.udp[0]), *flags)
    assert (status, err) == (0, "")
    host, _, port = out.strip().rpartition(":")
    assert host == "127.0.0.1"
    assert 0 < int(port) < 65536


async def test_it_prints_json() -> None:
    async with await serve(["::1"], 0) as server:
        status, out, _ = await run(f"stun:{server.udp[0]}", "--json", "--tcp")
    said = json.loads(out)
    assert status == 0
    assert (said["address"], said["protocol"], said["server"]) == ("::1", "tcp", str(server.udp[0]))
    assert said["round_trip_ms"] > 0


async def test_no_answer_is_said_and_is_status_1() -> None:
    mute = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
    )
    port = mute[0].get_extra_info("sockname")[1]
    status, out, err = await run(f"127.0.0.1:{port}", "--timeout", "0.2")
    assert (status, out) == (1, "")
    assert err.strip() == f"stun: 127.0.0.1:{port} did not answer within 0.2 s"
    mute[0].close()


@pytest.mark.parametrize("interrupt", [signal.SIGINT, signal.SIGTERM])
async def test_serving_until_interrupted(interrupt: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "stun", "serve", "--host", "127.0.0.1", "--port", "0", "--json"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    said = json.loads(await process.stdout.readline())
    (address,) = said["udp"]
    for flags in ([], ["--tcp"]):
        status, out, _ = await run(address, *flags)
        assert status == 0
        assert out.startswith("127.0.0.1:")
    process.send_signal(interrupt)
    _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["stuns:192.0.2.1"],
        ["example.org", "--dtls"],
        ["turn:example.org"],
        ["a:b:c"],
        ["x", "--timeout", "-1"],
        ["x", "--user", "name"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m stun" in capsys.readouterr().err


def test_a_family_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["127.0.0.1", "--ipv6"]) == 1
    assert "no IPv6 address" in capsys.readouterr().err


def test_an_address_that_cannot_be_served(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--host", "192.0.2.250", "--json"]) == 1
    assert "cannot serve" in json.loads(capsys.readouterr().err)["error"]


async def test_over_tls_and_dtls(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "stun", "serve", "--host", "127.0.0.1", "--port", "0", "--tls-port", "0", "--json"),
        *("--cert", authority.issue("localhost")),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    said = json.loads(await process.stdout.readline())
    assert said["tls"] == said["dtls"]
    port = said["tls"][0].rpartition(":")[2]
    trust = ("--ca", f"{tmp_path}/ca.pem")
    for flags, protocol in (([], "tls"), (["--dtls"], "dtls")):
        status, out, err = await run(f"stuns:localhost:{port}", "-4", "--json", *flags, *trust)
        assert (status, err) == (0, "")
        assert json.loads(out)["protocol"] == protocol
        status, out, err = await run(f"stuns:localhost:{port}", "-4", *flags)
        assert (status, out) == (1, "")
        assert f"localhost 127.0.0.1:{port} over {protocol.upper()}" in err
        assert "issuer that is not trusted" in err
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
