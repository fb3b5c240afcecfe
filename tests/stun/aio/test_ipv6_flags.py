from __future__ import annotations

from pathlib import Path

from stun.aio.ipv6_flags import temporary_addresses

TABLE = """\
00000000000000000000000000000001 01 80 10 80       lo
20010db8000000000000000000000005 02 40 00 00     eth0
20010db8000000000000000000001234 02 40 00 01     eth0
20010db8000000000000000000001235 02 40 00 21     eth0
20010db8000000000000000000001236 02 40 00 41     eth0
20010db8000000000000000000001237 02 40 00 09     eth0
fe800000000000000000000000000001 02 40 20 80     eth0
junk
"""


def test_temporary_addresses_that_are_fit_for_use(tmp_path: Path) -> None:
    table = tmp_path / "if_inet6"
    table.write_text(TABLE)
    assert temporary_addresses(table) == {"2001:db8::1234"}


def test_where_there_is_no_such_table(tmp_path: Path) -> None:
    assert temporary_addresses(tmp_path / "nothing") == frozenset()
