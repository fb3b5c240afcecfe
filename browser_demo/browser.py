"""A headless Chromium and the page in it, as a person would use it: click, type, choose a file, look."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from browser_demo.errors import CheckFailed, DemoError

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

__all__ = ["TabDriver", "find_chromium", "headless_chromium"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Nothing here changes what WebRTC does: candidates are hidden behind mDNS names, as for every visitor."""

VIEWPORT = {"width": 1360, "height": 860}

STATISTICS = """async () => {
  const { readStats } = await import('./stats.js');
  const session = globalThis.lastresort.selected.session;
  const { pairs, selected, sent, received } = await readStats(session.connection);
  return { pairs, selected, sent, received, marks: session.marks, state: session.state };
}"""


def find_chromium() -> str:
    """Return the path of a Chromium or Chrome.

    Raises:
        DemoError: there is none.
    """
    candidates = (os.environ.get("LASTRESORT_CHROMIUM"), *(shutil.which(name) for name in NAMES))
    found = next((path for path in candidates if path), None)
    if found is None:
        raise DemoError("no Chromium found: install the Debian package chromium, or set LASTRESORT_CHROMIUM")
    return found


@asynccontextmanager
async def headless_chromium(executable: str | Path | None = None) -> AsyncIterator[Browser]:
    """Start Chromium; it ends with the context.

    Raises:
        DemoError: playwright or Chromium is missing, or Chromium does not start.
    """
    try:
        from playwright.async_api import Error, async_playwright
    except ImportError:
        raise DemoError("the Python package playwright is missing: pip install lastresort[test]") from None
    path = executable or find_chromium()
    async with async_playwright() as playwright:
        try:
            browser = await playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        except Error as error:
            raise DemoError(f"Chromium does not start: {error.message.splitlines()[0]}") from None
        try:
            yield browser
        finally:
            await browser.close()


class TabDriver:
    """One tab with the page in it. Every wait that is in vain raises :class:`CheckFailed` and says what was awaited."""

    def __init__(self, page: Page, patience: float = 20.0) -> None:
        """Drive ``page``; ``patience`` is how many seconds a wait may take."""
        self.page = page
        self.problems: list[str] = []
        """Errors on the page's console, and exceptions that nobody caught."""
        self._patience_ms = patience * 1000
        page.on("console", lambda message: self._note(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self._note(str(error)))

    @classmethod
    async def open(
        cls, browser: Browser, url: str, *, name: str | None = None, color_scheme: Any = "light"
    ) -> TabDriver:
        """Open the page in a tab of a browser profile of its own."""
        context = await browser.new_context(viewport=VIEWPORT, color_scheme=color_scheme)  # type: ignore[arg-type]
        if name is not None:
            await context.add_init_script(f"sessionStorage.setItem('name', {name!r})")
        tab = cls(await context.new_page())
        await tab.page.goto(url)
        return tab

    def _note(self, problem: str) -> None:
        self.problems.append(problem)

    async def wait_for(self, selector: str, what: str, *, patience: float | None = None) -> None:
        """Wait until something matching ``selector`` is visible."""
        from playwright.async_api import TimeoutError as PlaywrightTimeout

        try:
            timeout = self._patience_ms if patience is None else patience * 1000
            await self.page.wait_for_selector(selector, timeout=timeout)
        except PlaywrightTimeout:
            noted = f"; the page says: {self.problems[:3]}" if self.problems else ""
            raise CheckFailed(f"{what} did not happen{noted}") from None

    async def connect(self, peer: object) -> None:
        """Choose a peer on the roster and wait for the direct path."""
        row = f'[data-peer="{peer}"]'
        await self.wait_for(row, "the peer's entry on the roster")
        await self.page.click(row)
        await self.wait_for('.session[data-state="direct"]', "a direct connection")

    async def say(self, text: str) -> None:
        """Send a chat message."""
        await self.page.fill(".chat input", text)
        await self.page.keyboard.press("Enter")

    async def wait_for_message(self, text: str) -> None:
        """Wait until the peer has said ``text``."""
        await self.wait_for(f".message.peer:has-text({_quoted(text)})", f"the message {text!r}")

    async def send_file(self, path: Path) -> None:
        """Send a file and wait for the peer's verdict."""
        await self.page.set_input_files('.files input[type="file"]', path)
        await self._wait_for_transfer("out", path.name)

    async def ask_for_file(self, name: str) -> None:
        """Ask the peer for a file that it shares, and wait until it is here and its hash is right."""
        ask = ".files button.secondary"
        await self.wait_for(ask, "the button to ask for a file")
        await self.page.click(ask)
        wanted = f".shared-file:has-text({_quoted(name)})"
        await self.wait_for(wanted, f"{name} in the list of shared files")
        await self.page.click(wanted)
        await self._wait_for_transfer("in", name)

    async def _wait_for_transfer(self, direction: str, name: str) -> None:
        row = f'.transfer.{direction}[data-state="verified"]:has-text({_quoted(name)})'
        await self.wait_for(row, f"the verified transfer of {name}", patience=60.0)

    async def hash_of(self, direction: str, name: str) -> str:
        """Return the SHA-256 that the page shows for a transfer."""
        shown = self.page.locator(f".transfer.{direction}:has-text({_quoted(name)}) .hash").first
        return str(await shown.get_attribute("title"))

    async def statistics(self) -> dict[str, Any]:
        """Return the chosen session's marks and what its connection's statistics say."""
        answer: dict[str, Any] = await self.page.evaluate(STATISTICS)
        return answer

    async def screenshot(self, path: Path) -> None:
        """Save a picture of what is on screen."""
        path.parent.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=path)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
