"""DNS records, by way of dnspython; :func:`stun.aio.resolve.ask_dns` loads this for who has a name to look up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dns.asyncresolver
import dns.exception

__all__ = ["look_up"]


async def look_up(name: str, kind: str, timeout: float) -> Sequence[Any]:
    """Return the records of one kind (``SRV``, ``NAPTR``); none where there are none, or no answer in ``timeout`` s."""
    try:
        return list(await dns.asyncresolver.resolve(name, kind, lifetime=timeout))
    except (dns.exception.DNSException, OSError, ValueError):
        # No record, no such name, no resolver: the RFC's fallback is the same for all of them.
        return []
