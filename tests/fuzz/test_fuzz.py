"""Every fuzz target for a short while: with bytes that hypothesis makes, and with damaged test vectors."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import main, run_random
from tests.fuzz.targets import VECTORS, corpus, find_targets, mutate

TARGETS = find_targets()
MUTANTS = 300


@pytest.mark.parametrize("name", TARGETS)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=2048))
def test_arbitrary_bytes_do_no_harm(name: str, data: bytes) -> None:
    TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_vectors_do_no_harm(name: str) -> None:
    rng = random.Random(name)
    seeds = corpus()
    for seed in seeds:
        TARGETS[name](seed)
    for _ in range(MUTANTS):
        data = mutate(rng.choice(seeds), rng)
        try:
            TARGETS[name](data)
        except Exception as error:  # noqa: BLE001 - whatever leaves the target is the finding
            pytest.fail(f"{name} raised {error!r} on {data.hex()}")


def test_a_target_that_raises_is_caught_and_its_input_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.fuzz.__main__.CRASHES", tmp_path)

    def fragile(data: bytes) -> None:
        if len(data) % 2:
            raise IndexError("odd")

    assert run_random("fragile", fragile, 5.0, seed=1) == 1
    (kept,) = tmp_path.iterdir()
    assert len(kept.read_bytes()) % 2 == 1
    assert str(kept) in capsys.readouterr().out
    assert run_random("sturdy", lambda _: None, 0.05, seed=1) == 0


def test_the_command_lists_its_targets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out.split() == list(TARGETS)


def test_mutation_is_reproducible_and_reaches_every_kind_of_damage() -> None:
    seed = bytes(range(64))
    first = [mutate(seed, random.Random(number)) for number in range(200)]
    assert first == [mutate(seed, random.Random(number)) for number in range(200)]
    assert {len(data) < 64 for data in first} == {True, False}
    assert any(len(data) > 64 for data in first)
    assert any(len(data) == 64 and data != seed for data in first)


def test_the_corpus_reads_raw_and_hex_vectors(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\x00\x01\x00\x00")
    (tmp_path / "b.hex").write_text("0001 0000\n2112 a442\n")
    seeds = corpus(tmp_path)
    assert {b"\x00\x01\x00\x00", bytes.fromhex("000100002112a442"), bytes.fromhex("2112a442")} <= set(seeds)
    assert VECTORS.is_dir() or len(seeds) >= 5
