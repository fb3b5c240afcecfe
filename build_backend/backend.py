"""The build backend (PEP 517): setuptools, and mypy beside it for a build that compiles.

``LASTRESORT_COMPILE=1 pip install .`` asks for one; see ``docs/compiled.md``. Only the making of a wheel heeds it: the
other steps come before mypy is there, and a compiled editable install would go on running what the source was.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from compiled import MYPY, WISH, is_wished
from setuptools import build_meta

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

Settings = Mapping[str, Any] | None

build_wheel = build_meta.build_wheel


@contextmanager
def _wish_unheard() -> Iterator[None]:
    wish = os.environ.pop(WISH, None)
    try:
        yield
    finally:
        if wish is not None:
            os.environ[WISH] = wish


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """Return what a wheel needs to be built: the compiler of Python only where it is wished for."""
    with _wish_unheard():
        requires: list[str] = build_meta.get_requires_for_build_wheel(config_settings)
    return [*requires, MYPY] if is_wished() else requires


def get_requires_for_build_sdist(config_settings: Settings = None) -> list[str]:
    """As of setuptools, whatever is wished for."""
    with _wish_unheard():
        requires: list[str] = build_meta.get_requires_for_build_sdist(config_settings)
    return requires


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    """As of setuptools, whatever is wished for."""
    with _wish_unheard():
        requires: list[str] = build_meta.get_requires_for_build_editable(config_settings)
    return requires


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Settings = None) -> str:
    """As of setuptools: what is compiled is no part of the metadata."""
    with _wish_unheard():
        name: str = build_meta.prepare_metadata_for_build_wheel(metadata_directory, config_settings)
    return name


def prepare_metadata_for_build_editable(metadata_directory: str, config_settings: Settings = None) -> str:
    """As of setuptools, whatever is wished for."""
    with _wish_unheard():
        name: str = build_meta.prepare_metadata_for_build_editable(metadata_directory, config_settings)
    return name


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """As of setuptools, whatever is wished for."""
    with _wish_unheard():
        name: str = build_meta.build_sdist(sdist_directory, config_settings)
    return name


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """As of setuptools, whatever is wished for."""
    with _wish_unheard():
        name: str = build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
    return name
