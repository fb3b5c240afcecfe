"""Where files of the native peer live: a bounded folder of received ones, and what the peer shares."""

from __future__ import annotations

import hashlib
import random
import shutil
import tempfile
import unicodedata
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from browser_demo.config import FileConfig
from browser_demo.errors import FileRefused

__all__ = ["FileStore", "Incoming", "SharedFile", "safe_name"]

SAMPLE_NAME = "sample.bin"
SAMPLE_SEED = 2026
NAME_BYTES = 255
"""What file systems take for one component of a path."""


def safe_name(name: str, limit: int) -> str:
    """Return the last path component of ``name``, without control characters and leading dots; never empty.

    It has at most ``limit`` characters, and no more bytes than a file system takes.
    """
    last = name.replace("\\", "/").rsplit("/", 1)[-1][: 8 * limit]
    kept = "".join(c for c in last if unicodedata.category(c)[0] != "C" and c not in '<>:"|?*')
    short = kept.lstrip(".").strip()[:limit].encode()[:NAME_BYTES].decode(errors="ignore")
    return short.strip() or "file"


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A file that peers may ask for."""

    name: str
    path: Path
    size: int

    def sha256(self) -> str:
        """Hash the file; in hexadecimal."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


class Incoming:
    """One file while it arrives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._hash = hashlib.sha256()
        self._file: BinaryIO = path.open("xb")

    def write(self, data: bytes) -> None:
        """Append ``data``; raises OSError when the disk does not take it."""
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def finish(self) -> str:
        """Close the file and return its SHA-256 in hexadecimal."""
        self._file.close()
        return self._hash.hexdigest()

    def discard(self) -> None:
        """Close and delete the file."""
        self._file.close()
        self.path.unlink(missing_ok=True)


class FileStore:
    """A temporary folder that is gone after :meth:`close`; ``share`` is read, never written."""

    def __init__(self, config: FileConfig | None = None, share: Path | None = None) -> None:
        self.config = config or FileConfig()
        self._share = share
        self._folder = Path(tempfile.mkdtemp(prefix="lastresort-"))
        self._received: OrderedDict[Path, int] = OrderedDict()
        self._arriving: dict[Incoming, int] = {}
        self._numbers = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Delete everything that was received. Harmless twice."""
        for incoming in tuple(self._arriving):
            self.drop(incoming)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def received(self) -> tuple[Path, ...]:
        """The received files that are kept, oldest first."""
        return tuple(self._received)

    def begin(self, name: str, size: int) -> Incoming:
        """Make room for a file and return where its bytes go.

        Raises:
            FileRefused: too large, or too many or too much arrives at once.
        """
        if not 0 <= size <= self.config.max_file:
            raise FileRefused(f"files up to {self.config.max_file} bytes only")
        if len(self._arriving) >= self.config.max_transfers:
            raise FileRefused("too many files arrive at once")
        self._make_room(size)
        self._numbers += 1
        path = self._folder / str(self._numbers) / safe_name(name, self.config.max_name)
        path.parent.mkdir()
        incoming = Incoming(path)
        self._arriving[incoming] = size
        return incoming

    def keep(self, incoming: Incoming) -> None:
        """Keep a file that arrived whole."""
        self._arriving.pop(incoming, None)
        self._received[incoming.path] = incoming.size

    def drop(self, incoming: Incoming) -> None:
        """Forget a file that did not arrive whole."""
        self._arriving.pop(incoming, None)
        incoming.discard()

    def shared(self) -> tuple[SharedFile, ...]:
        """Return what peers may ask for: the files of the shared folder, or a sample, and what was received.

        A file whose name is no text (bytes that are not UTF-8) cannot be asked for, and is left out.
        """
        if self._share is not None:
            named = (path for path in self._share.iterdir() if _is_text(path.name))
            own = sorted(path for path in named if path.is_file() and not path.is_symlink())
        else:
            own = [self._sample()] if self.config.sample_size else []
        files = {path.name: path for path in (*self._received, *own)}
        return tuple(SharedFile(name, path, path.stat().st_size) for name, path in reversed(files.items()))

    def find(self, name: str) -> SharedFile:
        """Return the shared file of that exact name.

        Raises:
            FileRefused: there is none.
        """
        for file in self.shared():
            if file.name == name:
                return file
        raise FileRefused("no such file is shared")

    def _sample(self) -> Path:
        path = self._folder / SAMPLE_NAME
        if not path.exists():
            path.write_bytes(random.Random(SAMPLE_SEED).randbytes(self.config.sample_size))
        return path

    def _make_room(self, size: int) -> None:
        def crowded() -> bool:
            stored = sum(self._received.values()) + sum(self._arriving.values()) + size
            return stored > self.config.max_stored or len(self._received) >= self.config.max_files

        while crowded():
            if not self._received:
                raise FileRefused("there is no room for it now")
            oldest, _ = self._received.popitem(last=False)
            shutil.rmtree(oldest.parent, ignore_errors=True)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
