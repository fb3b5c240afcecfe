"""Fuzz one parser for a while: `python -m tests.fuzz TARGET [--seconds N]`; with no target, list them.

With atheris installed the run is guided by coverage; without it the test vectors are mutated at random.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.targets import Target, corpus, find_targets, mutate

CRASHES = Path(__file__).resolve().parents[2] / "artifacts" / "fuzz"


def save_crash(name: str, data: bytes) -> Path:
    """Keep the input that broke a target; returns where."""
    CRASHES.mkdir(parents=True, exist_ok=True)
    path = CRASHES / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}.bin"
    path.write_bytes(data)
    return path


def run_random(name: str, target: Target, seconds: float, seed: int) -> int:
    """Mutate the corpus until the time is over; 1 when the target raised."""
    rng = random.Random(seed)
    seeds = corpus(CRASHES)
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        data = mutate(rng.choice(seeds), rng)
        try:
            target(data)
        except BaseException:  # noqa: BLE001 - whatever leaves the target is the finding
            traceback.print_exc()
            print(f"{name} raised on input {count}, kept in {save_crash(name, data)}")
            return 1
        count += 1
    print(f"{name}: {count} inputs, seed {seed}, nothing raised")
    return 0


def run_atheris(name: str, target: Target, seconds: float, seed: int) -> int:
    """Let atheris drive the target; it exits the process itself."""
    import atheris

    CRASHES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(corpus(CRASHES)):
            (Path(folder) / f"{number:06}").write_bytes(data)
        atheris.instrument_all()
        options = [f"-max_total_time={max(1, round(seconds))}", f"-seed={seed}", f"-artifact_prefix={CRASHES}/{name}-"]
        atheris.Setup([sys.argv[0], *options, folder], target)
        atheris.Fuzz()
    return 0


def replay(name: str, target: Target, path: Path) -> int:
    """Feed one file to the target, with the traceback on screen when it raises."""
    target(path.read_bytes())
    print(f"{name}: {path} is taken without a fault")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 1 when a target raised."""
    targets = find_targets()
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", nargs="?", choices=sorted([*targets, "all"]), help="what to fuzz, or `all` in turn")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, for each target (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="for the same run again (default: from the clock)")
    parser.add_argument("--random", action="store_true", help="mutate at random even where atheris is installed")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="feed this one file to the target instead")
    options = parser.parse_args(arguments)
    if options.target is None:
        print("\n".join(targets))
        return 0
    chosen = list(targets) if options.target == "all" else [options.target]
    if options.replay:
        return max(replay(name, targets[name], options.replay) for name in chosen)
    seed = options.seed if options.seed is not None else time.time_ns() & 0xFFFFFFFF
    guided = importlib.util.find_spec("atheris") is not None and not options.random and len(chosen) == 1
    run = run_atheris if guided else run_random
    return max([run(name, targets[name], options.seconds, seed) for name in chosen], default=0)


if __name__ == "__main__":
    sys.exit(main())
