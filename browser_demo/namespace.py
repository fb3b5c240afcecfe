"""Running the check on a machine that has only loopback: in a network namespace with an interface of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from browser_demo.errors import DemoError

__all__ = ["rerun_in_namespace"]

ADDRESS = "198.51.100.1/24"
"""TEST-NET-2 (RFC 5737): nobody else has it, and nothing leaves the namespace."""


async def rerun_in_namespace(arguments: Sequence[str]) -> int:
    """Run ``python -m browser_demo`` with ``arguments`` in a new namespace; return its exit status.

    Raises:
        DemoError: not root, or ``ip`` is missing, or the kernel refuses.
    """
    if "LASTRESORT_IN_NAMESPACE" in os.environ:
        raise DemoError("the namespace has no usable address")
    ip = shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if ip is None or os.geteuid() != 0:
        raise DemoError(
            "this machine has only loopback addresses, and browsers offer none of those; "
            "as root and with the package iproute2 the check makes a network namespace for itself"
        )
    async with _namespace(ip) as name:
        environment = {**os.environ, "LASTRESORT_IN_NAMESPACE": name}
        options = arguments[1:] if arguments[:1] == ["demo"] else arguments
        command = (ip, "netns", "exec", name, sys.executable, "-m", "browser_demo", *options)
        process = await asyncio.create_subprocess_exec(*command, env=environment)
        return await process.wait()


@asynccontextmanager
async def _namespace(ip: str) -> AsyncIterator[str]:
    name = f"lastresort-{os.getpid()}"
    await _run(ip, "netns", "add", name)
    try:
        await _run(ip, "-n", name, "link", "set", "lo", "up")
        await _run(ip, "-n", name, "link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
        for end in ("lan0", "lan1"):
            # No IPv6 address that turns up a second later: Chromium then drops what it is loading.
            await _run(ip, "-n", name, "link", "set", end, "addrgenmode", "none")
        await _run(ip, "-n", name, "link", "set", "lan1", "up")
        await _run(ip, "-n", name, "address", "add", ADDRESS, "dev", "lan0")
        await _run(ip, "-n", name, "link", "set", "lan0", "up")
        await _run(ip, "-n", name, "route", "add", "default", "dev", "lan0")
        yield name
    finally:
        await _run(ip, "netns", "delete", name)


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise DemoError(f"`{' '.join(command)}` failed: {output.decode(errors='replace').strip()}")
