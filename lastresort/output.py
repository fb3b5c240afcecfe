"""What the commands print: lines for people, or one JSON object a line for programs."""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import Any, TextIO

__all__ = ["Output", "one_line"]

_MOVES = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""Bidirectional classes of the characters that change the order of those beside them."""


def one_line(text: str) -> str:
    """Return what a peer said so that it can be printed: no line break, no terminal sequence, no change of direction.

    Such characters are shown as Python writes them.
    """
    return "".join(ascii(c)[1:-1] if _acts(c) else c for c in text)


def _acts(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(character) in _MOVES


class Output:
    """Prints events; every event has a name that stays, and fields that JSON can hold."""

    def __init__(self, *, as_json: bool, stream: TextIO | None = None, errors: TextIO | None = None) -> None:
        """Print to ``stream`` (standard output) and, for errors, to ``errors`` (standard error)."""
        self.as_json = as_json
        self._stream = stream if stream is not None else sys.stdout
        self._errors = errors if errors is not None else sys.stderr

    def event(self, name: str, line: str | None = None, /, **fields: Any) -> None:
        """Tell an event: ``{"event":name,...}`` as JSON, else ``line``, or nothing when there is none."""
        if self.as_json:
            self._line(self._stream, json.dumps({"event": name, **fields}, default=str))
        elif line is not None:
            self._line(self._stream, line)

    def error(self, message: str, hint: str | None = None) -> None:
        """Tell what went wrong, and what to do about it."""
        if self.as_json:
            fields = {"event": "error", "message": message} | ({"hint": hint} if hint else {})
            self._line(self._stream, json.dumps(fields))
            return
        self._line(self._errors, f"lastresort: {message}")
        if hint:
            self._line(self._errors, f"  {hint}")

    def _line(self, stream: TextIO, text: str) -> None:
        stream.write(text + "\n")
        stream.flush()
