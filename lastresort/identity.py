"""Identities that outlive a process: a private key in a file that only its owner may read."""

from __future__ import annotations

import os
from pathlib import Path

from signalling.errors import KeyDecodeError
from signalling.libp2p.keys import PrivateKey

__all__ = ["load_identity"]

MAX_KEY_FILE = 4096


def load_identity(path: Path | None) -> PrivateKey:
    """Return the key in ``path``, which is made when it is not there; a new key for this run when ``path`` is None.

    The file holds libp2p's serialised ``PrivateKey``.

    Raises:
        OSError: the file cannot be read or written.
        KeyDecodeError: it holds no key.
    """
    if path is None:
        return PrivateKey.generate()
    try:
        with path.open("rb") as file:
            data = file.read(MAX_KEY_FILE)
    except FileNotFoundError:
        return _create(path)
    try:
        return PrivateKey.parse(data)
    except KeyDecodeError as error:
        raise KeyDecodeError(f"{path} holds no libp2p private key: {error}") from None


def _create(path: Path) -> PrivateKey:
    key = PrivateKey.generate()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.serialize())
    return key
