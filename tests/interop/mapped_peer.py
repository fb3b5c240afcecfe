"""A session behind a router that maps ports: says its candidates, and ends when its input does."""

from __future__ import annotations

import asyncio
import json
import sys

import ice
from ice.portmap.config import PortmapConfig
from ice.portmap.protocol import PortMapperProtocol


async def main(protocol: str) -> None:
    portmap = PortmapConfig(enabled=True, protocols=[PortMapperProtocol[protocol]], patience=8.0)
    session = ice.Session(ice.Role.CONTROLLING, ice.IceConfig(portmap=portmap))
    await session.gather()
    print(json.dumps([candidate.to_sdp() for candidate in session.local_candidates]), flush=True)  # noqa: T201
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await session.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
