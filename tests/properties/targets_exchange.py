"""Fuzz target of the signalling that ice reads from streams. An exception that leaves it is a fault."""

from __future__ import annotations

from ice.exchange import ExchangeError, decode_item, encode_item


def fuzz_ice_exchange_line(data: bytes) -> None:
    """Any line is an item, of an unknown type, or an ExchangeError; an item survives being told on."""
    try:
        item = decode_item(data)
    except ExchangeError:
        return
    assert item is None or decode_item(encode_item(item)) == item
