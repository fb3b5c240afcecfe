"""The benchmark table: which way a ratio runs, what it prints and how the command chooses."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.results import END, START, Result, machine, to_json, to_markdown, write_into

DAY = datetime.date(2026, 11, 23)
FASTER = Result(name="connect", ours=2.0, theirs=21.0, unit="ms", goal=10, peer="aioice 0.13.0")
SLOWER = Result(name="bytes", ours=100.0, theirs=80.0, unit="MB/s", goal=2, peer="py-libp2p 0.8.1", note="one stream")


def test_a_time_is_better_when_lower_and_a_rate_when_higher() -> None:
    assert FASTER.ratio == pytest.approx(10.5)
    assert FASTER.met
    assert SLOWER.ratio == pytest.approx(1.25)
    assert not SLOWER.met


def test_the_table_has_both_figures_the_verdict_the_machine_and_the_date() -> None:
    table = to_markdown([FASTER, SLOWER], DAY)
    assert "| connect | 2 ms | 21 ms | aioice 0.13.0 | 10.50 × | 10 × | met |" in table
    assert "| bytes | 100 MB/s | 80 MB/s | py-libp2p 0.8.1 | 1.25 × | 2 × | **missed** |" in table
    assert f"2026-11-23, {machine()}." in table
    assert "- bytes: one stream" in table


def test_json_says_the_same() -> None:
    document = json.loads(to_json([SLOWER], DAY))
    assert document["date"] == "2026-11-23"
    assert document["results"][0]["ratio"] == pytest.approx(1.25)
    assert document["results"][0]["met"] is False


def test_the_table_in_a_page_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    write_into(page, "new")
    write_into(page, "newer")
    assert page.read_text() == f"before\n{START}\n\nnewer\n\n{END}\nafter\n"
    page.write_text("no markers")
    with pytest.raises(ValueError, match="no table markers"):
        write_into(page, "new")


def test_the_command_runs_the_chosen_ones_and_fails_on_a_missed_goal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "names", lambda: ["fast", "slow"])
    monkeypatch.setattr(command, "run", lambda chosen: [{"fast": FASTER, "slow": SLOWER}[name] for name in chosen])
    assert command.main(["fast"]) == 0
    assert command.main([]) == 1
    assert "goal missed: bytes (1.25 x of 2 x)" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main(["unknown"])


def test_every_benchmark_is_found_by_its_run_function() -> None:
    assert not {"__main__", "results", "py_libp2p"} & set(command.names())
