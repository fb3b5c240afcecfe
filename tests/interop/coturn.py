"""coturn on loopback, with a configuration of its own, for the tests of our client."""

from __future__ import annotations

import asyncio
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
                await _until_it_listens(used, process)
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
    """Return ports that are free, each with the one above it, which coturn takes too."""
    found: list[int] = []
    for _ in range(200):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            if all(abs(port - other) > 1 for other in found):
                found.append(port)
            if len(found) == count:
                return found
    raise AssertionError("no two ports in a row are free")


async def _until_it_listens(port: int, process: asyncio.subprocess.Process) -> None:
    for _ in range(200):
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
