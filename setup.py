"""What setuptools cannot read from pyproject.toml: the extension modules of a build that compiles."""

from __future__ import annotations

from pathlib import Path

from compiled import is_wished, level, modules
from setuptools import Extension, setup

# Types are checked elsewhere, with the libraries there; here they are as good as unknown, so that every machine makes
# the same of the same source.
OPTIONS = ("--config-file=", "--no-site-packages", "--ignore-missing-imports")

# The modules are one shared library, and nothing else links to it. Told that, the compiler calls what is in it directly
# and may inline it; a pair of a thousand takes 6 % less time so. Microsoft's compiler never exports what is not marked.
UNIX_OPTIONS = ("-fvisibility=hidden", "-fno-semantic-interposition")


def extensions() -> list[Extension]:
    """Return the modules to compile: none unless asked."""
    if not is_wished():
        return []
    from mypyc.build import mypycify

    found: list[Extension] = mypycify(
        [*OPTIONS, *modules(Path(__file__).resolve().parent)],
        opt_level=level(),
        debug_level="0",
        multi_file=True,
        group_name="lastresort",
    )
    for extension in found:
        if f"-O{level()}" in extension.extra_compile_args:
            extension.extra_compile_args += UNIX_OPTIONS
    return found


setup(ext_modules=extensions())
