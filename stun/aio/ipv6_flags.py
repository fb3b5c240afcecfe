"""Which IPv6 addresses of this machine are temporary ones (RFC 8981), where the system tells."""

from __future__ import annotations

import ipaddress
from pathlib import Path

__all__ = ["temporary_addresses"]

_TABLE = Path("/proc/net/if_inet6")
_TEMPORARY, _DAD_FAILED, _DEPRECATED, _TENTATIVE = 0x01, 0x08, 0x20, 0x40


def temporary_addresses(table: Path = _TABLE) -> frozenset[str]:
    """Return the temporary addresses that are fit for new connections; empty where there is no such table.

    Left out: deprecated ones, and those that are not, or not yet, known to be nobody else's.
    """
    try:
        lines = table.read_text().splitlines()
    except OSError:
        return frozenset()
    found = set()
    for fields in map(str.split, lines):
        if len(fields) != 6 or len(fields[0]) != 32:
            continue
        flags = int(fields[4], 16)
        if flags & _TEMPORARY and not flags & (_DAD_FAILED | _DEPRECATED | _TENTATIVE):
            found.add(str(ipaddress.IPv6Address(int(fields[0], 16))))
    return frozenset(found)
