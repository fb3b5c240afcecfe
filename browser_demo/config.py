"""Limits and settings of the demo's peer and server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ice import IceConfig

__all__ = ["ChatConfig", "DemoConfig", "FileConfig", "PeerSettings", "ServerConfig"]

MEGABYTE = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatConfig:
    """Limits of the chat protocol."""

    max_text: int = 4000
    """Characters of a message; longer ones are cut."""

    max_message: int = 32 * 1024
    """Bytes of one JSON message; a longer one ends the stream."""

    max_id: int = 64
    """Characters of a message id that are sent back in its receipt; a longer id gets none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileConfig:
    """Limits of the file protocols and of the store."""

    max_file: int = 256 * MEGABYTE
    """Bytes of one file that is accepted."""

    max_stored: int = 512 * MEGABYTE
    """Bytes of received files that are kept; the oldest make room."""

    max_files: int = 64
    """Received files that are kept; the oldest make room."""

    max_transfers: int = 8
    """Files that may be on their way at once, in each direction; further ones are refused."""

    max_name: int = 120
    """Characters of a file name that are kept."""

    max_message: int = 64 * 1024
    """Bytes of one JSON message of the file protocols."""

    chunk: int = 64 * 1024
    """Bytes that are read and sent at a time."""

    idle_timeout: float = 30.0
    """Seconds without progress after which a transfer is given up."""

    sample_size: int = 5 * MEGABYTE
    """Bytes of the sample file that a peer without a folder of its own shares; 0 for none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerSettings:
    """One native peer."""

    name: str = "python"
    """What the roster calls it."""

    share: Path | None = None
    """The folder whose files peers may ask for; None for the sample only."""

    listen: tuple[str, ...] = ("/ip4/127.0.0.1/tcp/0",)
    """Multiaddrs to accept direct connections on."""

    ice: IceConfig = field(default_factory=IceConfig)
    """STUN and TURN servers, and which candidates may be used."""

    chat: ChatConfig = field(default_factory=ChatConfig)
    """Limits of chat."""

    files: FileConfig = field(default_factory=FileConfig)
    """Limits of files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerConfig:
    """The HTTP server of the page."""

    host: str = "127.0.0.1"
    """The address to bind to; loopback unless told otherwise."""

    port: int = 8080
    """The port of the page; 0 picks a free one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoConfig:
    """Everything that ``lastresort demo`` starts."""

    server: ServerConfig = field(default_factory=ServerConfig)
    """The page."""

    peer: PeerSettings = field(default_factory=PeerSettings)
    """The native peer."""
