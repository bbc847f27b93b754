"""A person can read the API's reference on a desk and on a phone, and the page asks no other host for anything."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from flask import Flask
from werkzeug.serving import make_server

from ingress.openapi.document import document
from tests.documented import operations

playwright = pytest.importorskip("playwright.sync_api")

if TYPE_CHECKING:
    from playwright.sync_api import Page, ViewportSize

DESK: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url(session_app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, session_app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/docs"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def page(request: pytest.FixtureRequest, chromium_path: str, url: str) -> Iterator[Page]:
    """The page, opened; fails the test on a script error, a blocked resource, or a request to anyone else."""
    wrong: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
        opened = browser.new_page(viewport=request.param)
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
        opened.on("request", lambda sent: wrong.append(sent.url) if _is_elsewhere(sent.url, url) else None)
        opened.goto(url)
        opened.wait_for_selector(".opblock")
        yield opened
        browser.close()
    assert wrong == []


def _is_elsewhere(asked: str, url: str) -> bool:
    return urlsplit(asked).scheme != "data" and urlsplit(asked).netloc != urlsplit(url).netloc


def test_it_shows_every_operation_and_every_event(page: Page) -> None:
    shown = {text.strip() for text in page.locator(".opblock-summary-description").all_text_contents()}
    described = {operation["summary"] for operation in operations().values()}
    assert shown == described | {hook["post"]["summary"] for hook in document()["webhooks"].values()}


def test_an_operation_opens_and_fits_the_screen(page: Page) -> None:
    page.click("#operations-Payments-createPayment .opblock-summary-control")
    page.wait_for_selector("#operations-Payments-createPayment .responses-table")
    assert page.locator("text=IDEMPOTENCY_KEY_REUSED").count() > 0
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_it_can_be_tried_out(page: Page) -> None:
    page.click("#operations-Operation-health .opblock-summary-control")
    page.click("#operations-Operation-health .try-out__btn")
    page.click("#operations-Operation-health .execute")
    page.wait_for_selector("#operations-Operation-health .live-responses-table")
    assert page.locator("#operations-Operation-health .live-responses-table .response-col_status").first.inner_text()
    assert '"alive"' in page.locator("#operations-Operation-health .live-responses-table").inner_text()
