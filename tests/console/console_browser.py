"""A real browser in front of the console: Chromium, by Playwright; whatever its console complains of is a fault."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from importlib.resources import files
from typing import Any

import pytest
from playwright.async_api import BrowserContext, ConsoleMessage, Page, async_playwright

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def chromium() -> str:
    for name in ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.fail("no Chromium was found: apt-get install chromium-headless-shell")


@asynccontextmanager
async def browsing(url: str, token: str = "", **context: Any) -> AsyncIterator[BrowserContext]:
    """Signed in where a session's token is given; what the browser complains of fails the test at the end."""
    complaints: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        expected = "the server responded with a status of 4" in message.text  # a form that was refused
        if message.type in {"error", "warning"} and not expected:
            complaints.append(message.text)

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        made = await browser.new_context(**context)
        made.set_default_timeout(10_000)
        made.on("console", heard)
        made.on("weberror", lambda error: complaints.append(str(error.error)))
        if token:
            await made.add_cookies([{"name": "provisioner", "value": token, "url": url, "sameSite": "Strict"}])
        yield made
        await browser.close()
    assert complaints == []


@lru_cache(maxsize=1)
def _axe() -> str:
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


async def violations(page: Page) -> list[str]:
    """What axe-core finds against WCAG A and AA, each with the elements that it is about."""
    await page.evaluate(_axe())
    found = await page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
    return [
        f"{one['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


async def too_wide(page: Page) -> list[str]:
    """What stands out of the window on the right, unless it scrolls by itself."""
    return list(
        await page.evaluate(
            """() => {
              const wide = document.documentElement.clientWidth, found = [];
              if (document.documentElement.scrollWidth > wide)
                for (const one of document.querySelectorAll('body *'))
                  if (one.getBoundingClientRect().right > wide + 1 && !one.closest('.rows, pre, .tabs'))
                    found.push(one.outerHTML.slice(0, 120));
              return found;
            }"""
        )
    )
