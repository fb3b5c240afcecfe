"""What every test runs under: hypothesis profiles, leak checks, outside tools, and a list of what could not run."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import tools
from tests.steady_loop import SteadyLoop

LEAK_GRACE = 1.0
"""How long a test's tasks may take to end after the test, in seconds of its loop's time."""

_not_run = pytest.StashKey[dict[str, str]]()

# No profile has a limit of wall-clock time, which a busy machine would miss: too_slow is one for making examples.
_timeless = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("dev", _timeless, max_examples=50)
hypothesis.settings.register_profile("ci", _timeless, max_examples=100, derandomize=True, database=None)
hypothesis.settings.register_profile("deep", _timeless, max_examples=5000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


# ---------------------------------------------------------------- outside tools


def _path_or_skip(tool: tools.Tool) -> Path:
    if tool.path is None:
        pytest.skip(tool.missing)
    return tool.path


@pytest.fixture(scope="session")
def node() -> Path:
    """The node executable; the test is skipped where there is none."""
    return _path_or_skip(tools.node())


@pytest.fixture(scope="session")
def node_modules(node: Path) -> Path:
    """The node_modules folder with js-libp2p; the test is skipped where it is not installed."""
    return _path_or_skip(tools.node_modules())


@pytest.fixture(scope="session")
def node_webrtc(node_modules: Path) -> Path:
    """The node_modules folder, where its native WebRTC binding loads."""
    return _path_or_skip(tools.node_webrtc())


@pytest.fixture(scope="session")
def libnice_python() -> Path:
    """The Python that runs libnice; the test is skipped where its bindings are not installed."""
    return _path_or_skip(tools.libnice())


@pytest.fixture(scope="session")
def chromium_path() -> Path:
    """The Chromium executable; the test is skipped where there is none."""
    return _path_or_skip(tools.chromium())


@pytest.fixture(scope="session")
def network_namespaces() -> Path:
    """The `ip` executable, where this user may make network namespaces."""
    return _path_or_skip(tools.namespaces())


@pytest.fixture(scope="session")
def nftables(network_namespaces: Path) -> Path:
    """The `nft` executable, where this user may load rules."""
    return _path_or_skip(tools.nftables())


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """The folder for what a run leaves to look at (screenshots, logs); it is not in git."""
    folder = tools.ROOT / "artifacts"
    folder.mkdir(exist_ok=True)
    return folder


# ---------------------------------------------------------------- loops


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Time limits in tests are those of a machine that is never busy, except where real peers have theirs."""
    if item.get_closest_marker("interop") or item.get_closest_marker("browser"):
        return {"system": asyncio.new_event_loop}
    return {"steady": SteadyLoop}


# ---------------------------------------------------------------- leaks


@pytest.fixture
async def _no_task_left() -> AsyncIterator[None]:
    """Fail a test whose tasks go on after it. Set up first, so torn down after the test's own fixtures."""
    before = asyncio.all_tasks()
    yield
    current = asyncio.current_task()
    left = {task for task in asyncio.all_tasks() if task is not current} - before
    if left:
        _, left = await asyncio.wait(left, timeout=LEAK_GRACE)
    if left:
        names = "\n".join(f"  {task!r}" for task in left)
        pytest.fail(f"{len(left)} task(s) still run after the test:\n{names}", pytrace=False)


class _Tracebacks(logging.Handler):
    """Keep what asyncio and our packages log with a traceback."""

    LOGGERS = ("asyncio", "stun", "turn", "ice", "signalling", "webrtc_bridge", "browser_demo", "lastresort")

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        ours = record.name.split(".")[0] in self.LOGGERS
        never_retrieved = record.name == "asyncio" and record.levelno >= logging.ERROR
        if ours and (record.exc_info or never_retrieved):
            self.seen.append(self.format(record))


@pytest.fixture(autouse=True)
def _no_traceback_logged(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test during which a traceback was logged, unless it is marked `logs_traceback`."""
    handler = _Tracebacks()
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
        if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
            # Unclosed sockets and exceptions that nobody fetched are told by destructors: let them run in this test.
            gc.collect()
    finally:
        root.removeHandler(handler)
    if handler.seen and request.node.get_closest_marker("logs_traceback") is None:
        pytest.fail("a traceback was logged:\n" + "\n".join(handler.seen), pytrace=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the task check in front of the other fixtures of every test that runs on a loop."""
    for item in items:
        is_async = isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj)
        if is_async and item.get_closest_marker("leaks_tasks") is None:
            item.fixturenames.insert(0, "_no_task_left")


def pytest_collection_finish() -> None:
    """Leave what the imports made out of later collections, so that one a test is cheap."""
    gc.collect()
    gc.freeze()


# ---------------------------------------------------------------- what could not run


def pytest_configure(config: pytest.Config) -> None:
    """Open the list of interop tests that could not run, and let programs under test be interrupted."""
    config.stash[_not_run] = {}
    # Where a script started pytest in its background SIGINT is ignored, and every child would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note every skipped interop test with its reason."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()  # type: ignore[attr-defined]
    is_interop = any(item.get_closest_marker(name) for name in ("interop", "browser"))
    if report.skipped and is_interop and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        item.config.stash[_not_run][item.nodeid] = reason.removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name each interop test that could not run and what it lacks; and the compiled build, if there could be none."""
    if lacking := os.environ.get("LASTRESORT_NOT_COMPILED"):
        terminalreporter.section("the compiled build could not be made or tested")
        terminalreporter.write_line(lacking)
    not_run = config.stash[_not_run]
    if not not_run:
        return
    terminalreporter.section("interop tests that could not run")
    for reason in sorted(set(not_run.values())):
        names = [name for name, why in not_run.items() if why == reason]
        terminalreporter.write_line(f"{reason}")
        for name in names:
            terminalreporter.write_line(f"  {name}")
