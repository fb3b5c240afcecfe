"""The pages: links resolve, maps name what exists, code compiles and the README's example runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import docs

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FRAGMENTS = [path for path in sorted((ROOT / "changelog.d").glob("*.md")) if path.name != "README.md"]


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [*PAGES, ROOT / "changelog.d" / "README.md"], ids=page_id)
def test_links_resolve(page: Path) -> None:
    assert list(docs.broken_links(ROOT, page)) == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_python_blocks_compile(page: Path) -> None:
    assert list(docs.does_not_compile(page.read_text(encoding="utf-8"))) == []


def test_the_readme_example_runs() -> None:
    example = docs.python_blocks((ROOT / "README.md").read_text(encoding="utf-8"))[0]
    assert "ice.connect" in example
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    assert sorted(line.split(" over ")[0] for line in ran.stdout.splitlines()) == [
        "b'hello, I am CONTROLLED'",
        "b'hello, I am CONTROLLING'",
    ]


def test_the_rfc_map_names_what_exists() -> None:
    text = (ROOT / "docs" / "rfc-map.md").read_text(encoding="utf-8")
    faults = list(docs.bad_map_rows(ROOT, text))
    assert not faults, "\n" + "\n".join(faults)


def test_deviations_name_real_sections() -> None:
    faults = list(docs.bad_deviations((ROOT / "docs" / "deviations.md").read_text(encoding="utf-8")))
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize("path", FRAGMENTS, ids=page_id)
def test_changelog_fragments_are_well_formed(path: Path) -> None:
    assert docs.bad_fragment(path.name, path.read_text(encoding="utf-8")) is None


def test_every_page_can_be_found_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert pages <= set(docs.LINK.findall(index)) | {"index.md"}


# ---------------------------------------------------------------- the checks themselves


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b`: c\n[ok](#a-b-c) [no](#nothing) [no](gone.md) [out](https://example.org/x)\n```\n[x](y)\n```\n"
    )
    assert list(docs.broken_links(tmp_path, page)) == [
        "page.md: #nothing has no such heading",
        "page.md: gone.md is not there",
    ]


def test_code_that_does_not_compile_is_found() -> None:
    assert (
        len(
            list(docs.does_not_compile("```python\nasync with\n```\n```python\nawait x()\n```\n```\nnot python\n```\n"))
        )
        == 1
    )


def test_bad_map_rows_are_found(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "stun.py").touch()
    (tmp_path / "tests" / "test_a.py").write_text("def test_x(): pass\nclass TestY:\n    def test_z(self): pass\n")
    head = "| section | requirement | module | test |\n|---|---|---|---|\n"
    good = "| 1.2 | does | `stun.py` | `tests/test_a.py::test_x`, `tests/test_a.py::TestY::test_z` |\n"
    assert list(docs.bad_map_rows(tmp_path, head + good)) == []
    bad = [
        "| 1.2 | does | `gone.py` | `tests/test_a.py` |\n",
        "| 1.2 | does | `stun.py` | `tests/test_a.py::test_gone` |\n",
        "| 1.2 | does | `stun.py` | by hand |\n",
        "| 1.2 | does | `stun.py` | `stun.py` |\n",
        "| 1.2 | does | `stun.py` |\n",
        "|  | does | `stun.py` | `tests/test_a.py` |\n",
    ]
    assert [len(list(docs.bad_map_rows(tmp_path, head + row))) for row in bad] == [1] * len(bad)


def test_bad_deviations_are_found() -> None:
    assert list(docs.bad_deviations("- **RFC 8445 section 7.3**: why\n- **WebRTC, JSEP**: why\n")) == []
    assert len(list(docs.bad_deviations("- **RFC 8445 section 71.3**: why\n"))) == 1
    assert len(list(docs.bad_deviations("- we do less here\n"))) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Bad_Name.md", "# Added: x\n\ny\n"),
        ("a.md", "Added: x\n\ny\n"),
        ("a.md", "# New: x\n\ny\n"),
        ("a.md", "# Added: x\ny\n"),
        ("a.md", "# Added: x\n"),
    ],
)
def test_bad_fragments_are_found(name: str, text: str) -> None:
    assert docs.bad_fragment(name, text) is not None


def test_a_good_fragment_is_no_fault() -> None:
    assert docs.bad_fragment("ice-agent.md", "# Added: an ICE agent\n\nIt connects.\n") is None


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_no_merge_has_left_its_marks(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith(("<<<<<<<", "=======", ">>>>>>>"))] == []
