"""A person reads the whole API on one page, at a desk or on a phone, and nothing comes from elsewhere."""

import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright
from werkzeug.serving import make_server

from domain.errors import ErrorCode
from domain.events import EventType
from ingress.openapi.document import document
from tests.documented import operations

DESK: ViewportSize = {"width": 1360, "height": 900}
PHONE: ViewportSize = {"width": 320, "height": 640}


@pytest.fixture(scope="module")
def address(session_app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, session_app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Page]:
    """The page, which fails the test when it asks another host for anything, or breaks its own policy."""
    context = browser.new_context(viewport=request.param)
    opened = context.new_page()
    asked: list[str] = []
    broken: list[str] = []
    opened.on("request", lambda sent: asked.append(sent.url))
    opened.on("console", lambda line: broken.append(line.text) if "Security Policy" in line.text else None)
    opened.goto(f"{address}/docs")
    yield opened
    context.close()
    assert broken == []
    assert {urlsplit(url).netloc for url in asked} == {urlsplit(address).netloc}


@pytest.mark.browser
def test_it_shows_every_operation_with_its_fields_and_errors(page: Page) -> None:
    for (_, method), operation in operations().items():
        shown = page.inner_text(f"article#{operation['operationId']}")
        assert operation["summary"] in shown
        assert method in shown
        for status, response in operation["responses"].items():
            assert status in shown
            for code in response.get("content", {}).get("application/json", {}).get("examples", {}):
                assert code not in set(ErrorCode) or code in shown


@pytest.mark.browser
def test_it_shows_every_field_of_every_model_and_every_event(page: Page) -> None:
    shown = page.inner_text("main")
    for schema in document()["components"]["schemas"].values():
        assert [name for name in schema.get("properties", {}) if name not in shown] == []
    assert [kind for kind in EventType if kind not in shown] == []
    assert "" not in {text.strip() for text in page.locator(".type").all_text_contents()}


@pytest.mark.browser
def test_its_links_lead_somewhere(page: Page) -> None:
    dead = "[...document.querySelectorAll('a[href^=\"#\"]')].filter(a => !document.querySelector(a.hash))"
    assert page.evaluate(f"{dead}.map(a => a.hash)") == []


@pytest.mark.browser
def test_the_contents_lead_to_an_operation(page: Page) -> None:
    if page.locator("nav summary").is_visible():
        page.click("nav summary")
    page.click("nav a[href='#createRefund']")
    assert page.locator("article#createRefund h3").bounding_box()["y"] < 200  # pyright: ignore[reportOptionalSubscript]


@pytest.mark.browser
def test_nothing_is_wider_than_the_screen(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_its_policy_allows_no_script_and_no_other_host(client: FlaskClient) -> None:
    served = client.get("/docs")
    policy = dict(part.split(" ", 1) for part in served.headers["Content-Security-Policy"].split("; "))
    assert policy.pop("style-src").startswith("'sha256-")
    assert policy.pop("default-src") == "'none'"
    assert set(policy.values()) == {"'none'"}
    assert b"<script" not in served.data
