"""The server's structured logs: one record an event, with its fields as attributes for JSON and key=value lines."""

from __future__ import annotations

import json
import logging
from dataclasses import fields

from turn.service.events import AllocationCreated, AllocationEnded, AllocationMoved, AllocationRefused, ServerEvent

__all__ = ["JsonFormatter", "KeyValueFormatter", "log_event"]

logger = logging.getLogger("turn")

_NAMES: dict[type[ServerEvent], tuple[int, str]] = {
    AllocationCreated: (logging.INFO, "allocation created"),
    AllocationRefused: (logging.WARNING, "allocation refused"),
    AllocationMoved: (logging.INFO, "allocation moved"),
    AllocationEnded: (logging.INFO, "allocation ended"),
}


def log_event(event: ServerEvent) -> None:
    """Log an event of the server; its fields are under ``record.fields``."""
    level, name = _NAMES[type(event)]
    if logger.isEnabledFor(level):
        found = {field.name: _plain(getattr(event, field.name)) for field in fields(event)}
        logger.log(level, name, extra={"fields": found})


def _plain(value: object) -> object:
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return [str(item) for item in value]
    if isinstance(value, float):
        return round(value, 3)
    return value if isinstance(value, int) else str(getattr(value, "value", value))


def _fields(record: logging.LogRecord) -> dict[str, object]:
    found: dict[str, object] = getattr(record, "fields", {})
    return found


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class KeyValueFormatter(logging.Formatter):
    """A line for people, with the fields as ``key=value``; text of others is quoted, so it cannot forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        head = f"{self.formatTime(record, '%Y-%m-%d %H:%M:%S')} {record.levelname:7} {record.name}: "
        pairs = (f"{key}={_quoted(value)}" for key, value in _fields(record).items())
        text = " ".join([record.getMessage(), *pairs])
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return head + text


def _quoted(value: object) -> str:
    text = str(value)
    safe = text and all(character.isprintable() and character not in " \"'" for character in text)
    return text if safe else json.dumps(text)
