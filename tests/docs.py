"""What the pages have to get right, as functions over text; `test_docs.py` runs them, also on planted faults."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
QUOTED = re.compile(r"`([^`]+)`")
SECTION = re.compile(r"^(appendix )?[0-9A-Z]+(\.[0-9]+)*$", re.IGNORECASE)
DEVIATION = re.compile(r"^- \*\*(?P<where>[^*]+)\*\*: (?P<what>.+)", re.MULTILINE)
RFC_SECTION = re.compile(r"RFC (\d{4,5}) section ([0-9A-Z]+(?:\.[0-9]+)*)")
KINDS = ("Added", "Changed", "Fixed", "Removed", "Security")

TOP_SECTIONS = {
    4571: 10,
    5245: 22,
    5389: 22,
    5766: 21,
    5769: 5,
    5780: 12,
    6544: 16,
    7064: 9,
    7065: 9,
    7675: 10,
    7983: 8,
    8421: 10,
    8445: 22,
    8489: 20,
    8656: 26,
    8838: 22,
    8839: 13,
    8863: 9,
}
"""No section of a document has a higher number than this; of the others only the form is checked."""


def prose(text: str) -> str:
    """Return the page without its code blocks."""
    return FENCE.sub("", text)


def python_blocks(text: str) -> list[str]:
    """Return the Python code blocks of a page."""
    return [body for language, body in FENCE.findall(text) if language == "python"]


def does_not_compile(text: str) -> Iterator[str]:
    """Yield Python blocks with a syntax error; a block may await at its top level and leave things out with ``...``."""
    for block in python_blocks(text):
        try:
            compile(block, "<page>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        except SyntaxError as error:
            yield f"{error.msg} in line {error.lineno} of the block that starts {block.splitlines()[0]!r}"


def slug(heading: str) -> str:
    """Return the anchor that a heading gets on a forge."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def broken_links(root: Path, page: Path) -> Iterator[str]:
    """Yield the links of a page to files or headings that are not there; links to the outside are not looked at."""
    for target in LINK.findall(prose(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        if not file.exists():
            yield f"{page.relative_to(root)}: {target} is not there"
        elif anchor and anchor not in {slug(heading) for heading in HEADING.findall(file.read_text(encoding="utf-8"))}:
            yield f"{page.relative_to(root)}: {target} has no such heading"


def rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of each table row, without the rows that only draw the table."""
    for line in prose(text).splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                yield cells


def defined_names(path: Path) -> set[str]:
    """Return the functions and classes of a file, methods as ``Class::method``."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            inner = (child for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))
            names.update(f"{node.name}::{child.name}" for child in inner)
    return names


def missing_target(root: Path, target: str) -> str | None:
    """Return what is wrong with a ``path`` or ``path::name``, or None."""
    path, _, name = target.partition("::")
    if not (root / path).exists():
        return f"{path} is not there"
    if name and name.split("[")[0] not in defined_names(root / path):
        return f"{path} has no {name}"
    return None


def bad_map_rows(root: Path, text: str) -> Iterator[str]:
    """Yield the rows of the RFC map that name no section, or modules and tests that are not there."""
    for cells in rows(text):
        if cells[0].lower() == "section":
            continue
        if len(cells) != 4:
            yield f"{cells[0]}: {len(cells)} columns, not 4"
            continue
        section, requirement, modules, tests = cells
        where = f"{section} ({requirement[:40]})"
        if not requirement or not section:
            yield f"{where}: an empty cell"
        for column in (modules, tests):
            targets = QUOTED.findall(column)
            if not targets:
                yield f"{where}: {column!r} names no file in back quotes"
            yield from (f"{where}: {fault}" for target in targets if (fault := missing_target(root, target)))
        if any(not target.startswith("tests/") for target in QUOTED.findall(tests)):
            yield f"{where}: the test column names something outside tests/"


def bad_deviations(text: str) -> Iterator[str]:
    """Yield entries without a document, or with a section that the document does not have."""
    entries = list(DEVIATION.finditer(prose(text)))
    bullets = [line for line in prose(text).splitlines() if line.startswith("- ")]
    if len(entries) != len(bullets):
        good = {entry.group(0).splitlines()[0] for entry in entries}
        yield from (f"not of the form `- **where**: what`: {line}" for line in bullets if line not in good)
    for entry in entries:
        where = entry["where"]
        for number, section in RFC_SECTION.findall(where):
            top = section.split(".")[0]
            if top.isdigit() and not 1 <= int(top) <= TOP_SECTIONS.get(int(number), 99):
                yield f"{where}: RFC {number} has no section {section}"
        if "RFC" in where and not re.search(r"RFC \d{4,5}", where):
            yield f"{where}: which RFC?"


def bad_fragment(name: str, text: str) -> str | None:
    """Return what is wrong with a changelog fragment, or None."""
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*\.md", name):
        return f"{name}: use lower-case words joined by hyphens"
    first, _, rest = text.partition("\n")
    if not re.fullmatch(rf"# ({'|'.join(KINDS)}): \S.*", first):
        return f"{name}: the first line is not `# <{'|'.join(KINDS)}>: what`"
    if not rest.startswith("\n") or not rest.strip():
        return f"{name}: an empty line and the details come after the first line"
    return None
