"""Finds the fuzz targets: every ``fuzz_*(data: bytes)`` in ``tests/properties/targets_*.py``."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

Target = Callable[[bytes], None]
"""Feeds the bytes to a parser or a core. Any exception that leaves it is a fault."""

TESTS = Path(__file__).resolve().parent.parent
TARGETS = TESTS / "properties"
VECTORS = TESTS / "vectors"
LARGEST_SEED = 65536


def find_targets() -> dict[str, Target]:
    """Return every target by its name without the prefix, such as ``stun_message``."""
    found: dict[str, Target] = {}
    for path in sorted(TARGETS.glob("targets_*.py")):
        module = importlib.import_module(f"tests.properties.{path.stem}")
        for name, value in vars(module).items():
            if name.startswith("fuzz_") and callable(value):
                found[name.removeprefix("fuzz_")] = value
    return found


def corpus(extra: Path | None = None) -> list[bytes]:
    """Return the seeds: the test vectors (also those written as hex text), and files of another folder."""
    seeds = [b"", bytes(20)]
    folders = [folder for folder in (VECTORS, extra) if folder is not None and folder.is_dir()]
    for path in (path for folder in folders for path in sorted(folder.rglob("*"))):
        if path.is_file() and path.suffix != ".py":
            data = path.read_bytes()[:LARGEST_SEED]
            seeds.append(data)
            seeds.extend(_hex_lines(data))
    return list(dict.fromkeys(seeds))


def _hex_lines(data: bytes) -> Iterator[bytes]:
    """Yield what hex dumps say: the whole file when it is all hex, and each line that is."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        return
    for piece in (text, *text.splitlines()):
        compact = "".join(piece.split())
        if len(compact) >= 4:
            try:
                yield bytes.fromhex(compact)
            except ValueError:
                continue


def _flip(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _set_length(data: bytearray, rng: random.Random) -> None:
    """Overwrite two bytes with a number that a length field may hold."""
    if len(data) >= 2:
        at = rng.randrange(len(data) - 1)
        data[at : at + 2] = rng.choice((0, 1, 3, 4, len(data), 0x7FFF, 0x8000, 0xFFFF)).to_bytes(4, "big")[-2:]


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _remove(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    del data[start : start + rng.randrange(1, 9)]


def _insert(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    data[start:start] = rng.randbytes(rng.randrange(1, 9))


def _repeat(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    data[start:start] = data[start : start + rng.randrange(1, 33)]


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip,
    _set,
    _set_length,
    _cut,
    _remove,
    _insert,
    _repeat,
)


def mutate(seed: bytes, rng: random.Random) -> bytes:
    """Return a near relative of the seed: one to eight small damages, or now and then plain noise."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.randrange(0, 600))
    data = bytearray(seed)
    for _ in range(1 << rng.randrange(4)):
        rng.choice(MUTATIONS)(data, rng)
    return bytes(data)
