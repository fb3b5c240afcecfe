"""coturn on loopback, with a configuration of its own, for the tests of our client."""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from turn.config import TurnServerConfig

USER, PASSWORD, REALM = "maria", "secret word", "example.org"
STATIC_USER = ("--lt-cred-mech", f"--user={USER}:{PASSWORD}", f"--realm={REALM}")

START_TIMEOUT = 30.0
"""How long a server may take to start, in seconds."""
FIRST_PORT = 10_000
"""Where free ports are looked for from."""
TRIES = 500
"""How many are looked at."""

needs_coturn = pytest.mark.skipif(shutil.which("turnserver") is None, reason="needs coturn: install the package coturn")


@dataclass(frozen=True)
class Coturn:
    """A running server."""

    port: int
    tls_port: int
    log: Path
    process: asyncio.subprocess.Process

    def url(self, protocol: str, host: str = "127.0.0.1") -> str:
        """The URI of one of its listeners: udp, tcp, tls or dtls."""
        literal = f"[{host}]" if ":" in host else host
        secure = protocol in ("tls", "dtls")
        scheme, port = ("turns", self.tls_port) if secure else ("turn", self.port)
        return f"{scheme}:{literal}:{port}?transport={'tcp' if protocol in ('tcp', 'tls') else 'udp'}"

    def said(self, text: str) -> int:
        """How many lines of its log have a text."""
        return sum(text in line for line in self.log.read_text(errors="replace").splitlines())


@asynccontextmanager
async def coturn(
    folder: Path, *options: str, certificate: Path | None = None, port: int | None = None
) -> AsyncIterator[Coturn]:
    """Run coturn on 127.0.0.1 and ::1.

    Args:
        folder: where its files go.
        options: command-line options; without any authentication among them there is none.
        certificate: PEM with key and certificate; None runs no TLS and DTLS.
        port: where it listens; a free one by default.
    """
    plain, tls_port = free_port_pairs(2)
    port = port or plain
    log = folder / f"coturn-{port}.log"
    secure = ("--no-tls", "--no-dtls")
    if certificate is not None:
        secure = (f"--cert={certificate}", f"--pkey={certificate}")
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            "turnserver",
            *("-n", "--no-cli", "--log-file=stdout", "--simple-log", "--verbose", "--allow-loopback-peers"),
            *("--listening-ip=127.0.0.1", "--listening-ip=::1", "--relay-ip=127.0.0.1", "--relay-ip=::1"),
            *(f"--listening-port={port}", f"--tls-listening-port={tls_port}"),
            *(f"--pidfile={folder}/pid", f"--userdb={folder}/db"),
            *secure,
            *options,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            for used in [port] if certificate is None else [port, tls_port]:
                await until_it_listens(used, process)
            yield Coturn(port, tls_port, log, process)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def a_config(url: str, **settings: object) -> TurnServerConfig:
    """Return what our client needs to know; the static user unless told."""
    given: dict[str, object] = {"url": url, "username": USER, "password": PASSWORD}
    if "credentials" in settings:
        given = {"url": url}
    return TurnServerConfig(**(given | settings))  # type: ignore[arg-type]


def free_port_pairs(count: int) -> list[int]:
    """Return ports that are free for UDP and TCP, each with the one above it, which coturn takes too.

    They are below those that the system gives out by itself: until a server has them nobody gets them by chance.
    """
    found: list[int] = []
    for port in random.sample(range(FIRST_PORT, _first_given_out() - 1, 2), TRIES):
        if _is_free(port) and _is_free(port + 1):
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no two ports in a row are free")


def _first_given_out() -> int:
    return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")):
            with socket.socket(family, kind) as probe:
                try:
                    probe.bind((host, port))
                except OSError:
                    return False
    return True


async def until_udp_is_taken(port: int) -> None:
    """Return when somebody has a port of UDP: looked up, because who tried to bind it would be in the way."""
    async with asyncio.timeout(START_TIMEOUT):
        while not _has_udp(port):
            await asyncio.sleep(0.02)


def _has_udp(port: int) -> bool:
    lines = [line for name in ("udp", "udp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return any(int(line.split()[1].rpartition(":")[2], 16) == port for line in lines)


async def until_it_listens(port: int, process: asyncio.subprocess.Process) -> None:
    """Return when a server takes connections at a port of TCP."""
    for _ in range(round(START_TIMEOUT / 0.05)):
        assert process.returncode is None, "coturn has ended"
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            await writer.wait_closed()
            return
    raise AssertionError("coturn does not listen")
