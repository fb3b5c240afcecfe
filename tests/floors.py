"""The rules of the house as functions over source files; `test_floors.py` runs them, also on planted faults."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

FLOORS: dict[str, frozenset[str]] = {
    "stun": frozenset(),
    "turn": frozenset({"stun"}),
    "ice": frozenset({"stun", "turn"}),
    "signalling": frozenset({"stun"}),
    "webrtc_bridge": frozenset({"stun", "turn", "ice", "signalling"}),
    "browser_demo": frozenset({"stun", "turn", "ice", "signalling", "webrtc_bridge"}),
    "lastresort": frozenset({"stun", "turn", "ice", "signalling", "webrtc_bridge", "browser_demo"}),
}
"""What each package may import beside itself. The front door may also start the demo."""

DOORS: dict[str, frozenset[str]] = {"signalling/rendezvous.py": frozenset({"ice"})}
"""The modules that may import more than their package may."""

AIORTC_OWNERS = frozenset({"webrtc_bridge"})
"""The packages that may name aiortc."""

AIORTC = frozenset({"aiortc", "aioice", "av", "pylibsrtp"})

SANS_IO_FLOORS = frozenset({"stun", "turn", "ice", "signalling"})
IO_NAMES = frozenset({"aio", "__main__", "adapters"})
"""Path components (without ``.py``) under which a module may do I/O."""

IO_DOORS = frozenset({"signalling/rendezvous.py"})

IO_MODULES = frozenset(
    [
        "asyncio",
        "concurrent",
        "ctypes",
        "multiprocessing",
        "secrets",
        "select",
        "selectors",
        "signal",
        "socket",
        "socketserver",
        "ssl",
        "subprocess",
        "threading",
        "time",
        "aiohttp",
        "trio",
        "anyio",
        "uvloop",
    ]
)
"""Modules that read a clock, make randomness, block, or touch the network."""

IO_CALLS = frozenset({("os", "urandom"), ("os", "getrandom"), ("datetime", "now"), ("datetime", "utcnow")})
RANDOM_ALLOWED = frozenset({"Random"})
"""What a core may take from the module ``random``: the type of the generator that it is handed."""

ERROR_ROOTS = {
    "stun": "StunError",
    "turn": "TurnError",
    "ice": "IceError",
    "signalling": "SignallingError",
    "webrtc_bridge": "BridgeError",
}

COMPUTED = "?"
"""Stands for a module whose name is only known when the code runs."""

FRONT_DOOR = "lastresort"
"""The package that may load modules by a computed name: whatever it loads is below it."""

LATE = "late_names"
"""The function that loads modules out of a table, whose calls are read instead."""
LATE_HOME = "stun/late.py"
"""Where it is, and the one module below the front door that may load what it is told to."""

MOST_LINES = 400
MOST_FUNCTION_LINES = 60


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, and the names taken from it (empty for a plain ``import``)."""

    module: str
    names: tuple[str, ...]
    line: int

    @property
    def top(self) -> str:
        """The top-level package."""
        return self.module.split(".")[0]


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file of the tree, parsed."""

    path: str
    """Relative to the root, with forward slashes."""

    text: str
    tree: ast.Module

    @classmethod
    def read(cls, root: Path, path: Path) -> Source:
        """Read and parse one file; raises SyntaxError when it is not Python."""
        text = path.read_text(encoding="utf-8")
        return cls(path.relative_to(root).as_posix(), text, ast.parse(text, filename=str(path)))

    @property
    def package(self) -> str:
        """The top-level folder."""
        return self.path.split("/")[0]

    @property
    def parts(self) -> tuple[str, ...]:
        """The path's components, the last one without ``.py``."""
        return tuple(self.path.removesuffix(".py").split("/"))

    def imports(self) -> Iterator[Import]:
        """Yield every import in the file, also those in functions and under TYPE_CHECKING, relative ones resolved."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(alias.name, (), node.lineno)
            elif isinstance(node, ast.ImportFrom):
                names = tuple(alias.name for alias in node.names)
                yield Import(self._absolute(node), names, node.lineno)
            elif isinstance(node, ast.Call) and _is_dynamic_import(node):
                yield Import(self._dynamic(node), (), node.lineno)
            elif isinstance(node, ast.Call) and _called(node) == LATE:
                for module in self._late(node):
                    yield Import(module, (), node.lineno)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        folder = self.parts[: -node.level]
        return ".".join((*folder, *((node.module,) if node.module else ())))

    def _dynamic(self, node: ast.Call) -> str:
        """Return the module that a dynamic import names; one that starts with ``{__name__}.`` is a room of its own."""
        match node.args:
            case [ast.Constant(value=str(name)), *_]:
                return name
            case [
                ast.JoinedStr(values=[ast.FormattedValue(value=ast.Name(id="__name__")), ast.Constant(value=rest), *_])
            ]:
                return f"{self.package}.{COMPUTED}" if str(rest).startswith(".") else COMPUTED
        return COMPUTED

    def _late(self, node: ast.Call) -> Iterator[str]:
        """Yield the modules of a table of late names, which has to be a package's own and written out at the call."""
        match node.args:
            case [ast.Name(id="__name__"), ast.Dict(values=homes)] if self.parts[-1] == "__init__":
                for home in homes:
                    match home:
                        case ast.Constant(value=str(name)) if name.startswith(".") and not name.startswith(".."):
                            yield ".".join(self.parts[:-1]) + name
                        case ast.Constant(value=str(name)) if not name.startswith("."):
                            yield name
                        case _:
                            yield COMPUTED
            case _:
                yield COMPUTED


def _called(node: ast.Call) -> str:
    """Return the name of what is called, without what it is an attribute of."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _is_dynamic_import(node: ast.Call) -> bool:
    return _called(node) in ("import_module", "__import__")


def sources(root: Path, folders: Iterable[str]) -> Iterator[Source]:
    """Yield every Python file under the folders of ``root``, sorted by path."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            if "node_modules" not in path.parts:
                yield Source.read(root, path)


def climbing_imports(source: Source) -> Iterator[str]:
    """Yield the imports of packages that are not below this one."""
    allowed = FLOORS[source.package] | DOORS.get(source.path, frozenset()) | {source.package}
    for found in source.imports():
        if found.top in FLOORS and found.top not in allowed:
            yield f"{source.path}:{found.line}: {source.package} imports {found.module}, which is not below it"
        elif found.module == COMPUTED and source.package != FRONT_DOOR and source.path != LATE_HOME:
            yield f"{source.path}:{found.line}: the name of an import is computed, so nobody can check it"
        elif found.top in ("tests", "benchmarks", "examples"):
            yield f"{source.path}:{found.line}: a package imports {found.module}"


def strangers(source: Source) -> Iterator[str]:
    """Yield the imports of aiortc (and of what it stands on) outside the bridge."""
    for found in source.imports():
        if found.top in AIORTC and source.package not in AIORTC_OWNERS:
            yield f"{source.path}:{found.line}: only webrtc_bridge names {found.top}"


def may_do_io(source: Source) -> bool:
    """Whether the rule of the sans-IO cores leaves this module out."""
    below = source.package not in SANS_IO_FLOORS
    return below or source.path in IO_DOORS or bool(IO_NAMES.intersection(source.parts))


def io_in_cores(source: Source) -> Iterator[str]:
    """Yield whatever in a core reads a clock, makes randomness, blocks or touches the network."""
    if may_do_io(source):
        return
    for found in source.imports():
        if found.top in IO_MODULES:
            yield f"{source.path}:{found.line}: a core imports {found.module}"
        elif found.top == "os" and {"urandom", "getrandom"}.intersection(found.names):
            yield f"{source.path}:{found.line}: a core imports os.urandom"
        elif found.top == "random" and (taken := set(found.names) - RANDOM_ALLOWED):
            yield f"{source.path}:{found.line}: a core takes {', '.join(sorted(taken))} from random"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner, name = node.value.id, node.attr
            if (owner, name) in IO_CALLS or (owner == "random" and name not in RANDOM_ALLOWED):
                yield f"{source.path}:{node.lineno}: a core uses {owner}.{name}"


def imports_of_io_packages(source: Source) -> Iterator[str]:
    """Yield where a core imports one of our own modules that does I/O: that would hide a socket behind a name."""
    if may_do_io(source) or source.path.endswith("/__init__.py"):
        return
    for found in source.imports():
        full = {found.module, *(f"{found.module}.{name}" for name in found.names)}
        if found.top in FLOORS and any("aio" in module.split(".") for module in full):
            yield f"{source.path}:{found.line}: a core imports {found.module}, which does I/O"


def too_long(source: Source) -> Iterator[str]:
    """Yield a file longer than the cap."""
    count = source.text.count("\n")
    if count > MOST_LINES:
        yield f"{source.path}: {count} lines, more than {MOST_LINES}"


def long_functions(source: Source) -> Iterator[str]:
    """Yield functions that do not fit a screen; the docstring is not counted."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            lines = (node.end_lineno or 0) - first.lineno + 1
            if lines > MOST_FUNCTION_LINES:
                yield f"{source.path}:{node.lineno}: {node.name} has {lines} lines, more than {MOST_FUNCTION_LINES}"


def missing_parts(root: Path) -> Iterator[str]:
    """Yield packages without ``py.typed``, and floors without the one root of their errors."""
    for package in FLOORS:
        for name in ("__init__.py", "py.typed"):
            if not (root / package / name).is_file():
                yield f"{package}/{name} is missing"
    for package, name in ERROR_ROOTS.items():
        path = root / package / "errors.py"
        if not path.is_file():
            yield f"{package}/errors.py is missing"
            continue
        classes = {node.name: node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)}
        if name not in classes:
            yield f"{package}/errors.py does not define {name}"
        for other, node in classes.items():
            bases = {ast.unparse(base).split(".")[-1] for base in node.bases}
            is_enum = any(base.endswith("Enum") for base in bases)
            if other != name and not is_enum and not bases.intersection(classes):
                yield f"{package}/errors.py: {other} does not derive from {name}"


def loose_test_folders(tests: Path) -> Iterator[str]:
    """Yield folders with tests but no ``__init__.py``: tests/stun would then shadow stun."""
    for folder in sorted({path.parent for path in tests.rglob("*.py") if "node_modules" not in path.parts}):
        if not (folder / "__init__.py").is_file():
            yield f"{folder.relative_to(tests.parent)} has no __init__.py"
