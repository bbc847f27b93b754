"""A person with a phone can pay, is told what went wrong, and gets back to the merchant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.harness import RunningSandbox, WebhookCatcher

playwright = pytest.importorskip("playwright.sync_api")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

    from tests.sandbox.conftest import Api

PHONE: ViewportSize = {"width": 390, "height": 844}
PAY = "button:has-text('Pay NGN 2,500.00')"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Open a phone's page that fails the test on any script error or blocked resource."""
    context = browser.new_context(viewport=PHONE, locale="en-GB")
    opened = context.new_page()
    opened.set_default_timeout(10_000)
    broken: list[str] = []
    opened.on("pageerror", lambda error: broken.append(str(error)))
    opened.on("console", lambda line: broken.append(line.text) if "Security Policy" in line.text else None)
    yield opened
    context.close()
    assert broken == []


@pytest.fixture
def checkout(api: Api, page: Page, sandbox: RunningSandbox) -> Callable[..., None]:
    def open_checkout(**wanted: Any) -> None:
        body = {"reference": "r", "callback_url": f"{sandbox.url}/_sandbox/?shop=1"} | wanted
        page.goto(api.initialize(**body).json()["data"]["authorization_url"])

    return open_checkout


def test_a_test_card_fills_the_form_pays_and_leads_back_by_itself(
    api: Api, page: Page, checkout: Callable[..., None], catcher: WebhookCatcher
) -> None:
    checkout()
    page.click("text=PIN 1234, OTP 123456")
    assert page.input_value("#number") == "5060 6666 6666 6666 666"
    page.click(PAY)
    page.fill("#pin", "1234")
    page.keyboard.press("Enter")
    page.fill("#otp", "123456")
    page.click("text=Authorize payment")
    page.wait_for_selector("h1:has-text('Payment successful')")
    page.wait_for_url("**/_sandbox/?shop=1&trxref=r&reference=r")
    assert api.verify("r")["log"]["success"] is True
    assert catcher.wait_for(1)[0].event["data"]["reference"] == "r"


def test_typing_groups_the_card_number_and_the_expiry(page: Page, checkout: Callable[..., None]) -> None:
    checkout()
    page.locator("#number").press_sequentially("4084084084084081")
    page.locator("#expiry").press_sequentially("1230")
    page.locator("#cvv").press_sequentially("408")
    assert page.input_value("#number") == "4084 0840 8408 4081"
    assert page.input_value("#expiry") == "12 / 30"
    page.click(PAY)
    page.wait_for_selector("h1:has-text('Payment successful')")


def test_a_decline_is_announced_and_the_next_try_works(page: Page, checkout: Callable[..., None]) -> None:
    checkout()
    page.click("text=Insufficient funds")
    page.click(PAY)
    assert "Insufficient Funds" in page.inner_text("[role=alert]")
    page.click("text=Succeeds at once")
    page.click(PAY)
    page.wait_for_selector("h1:has-text('Payment successful')")


def test_a_problem_puts_the_cursor_into_its_field(page: Page, checkout: Callable[..., None]) -> None:
    checkout()
    page.fill("#number", "12")
    page.click(PAY)
    assert page.get_attribute("#number", "aria-invalid") == "true"
    assert page.evaluate("document.activeElement.id") == "number"


def test_the_page_notices_a_transfer_by_itself(page: Page, checkout: Callable[..., None]) -> None:
    checkout(callback_url=None)
    page.click("nav >> text=Transfer")
    page.click("text=Show account details")
    page.click("text=I have sent the money")
    page.wait_for_selector("h1:has-text('Waiting for your payment')")
    page.wait_for_selector("h1:has-text('Payment successful')", timeout=20_000)


@pytest.fixture
def challenge(api: Api, page: Page, sandbox: RunningSandbox) -> Callable[[], None]:
    """Charge a saved card whose bank wants its owner to confirm, and open the page it names."""

    def open_challenge() -> None:
        api.initialize(reference="saved")
        sandbox.control("transactions/saved/pay", {})
        code = api.verify("saved")["authorization"]["authorization_code"]
        sandbox.control("charges", {"outcome": "challenged"})
        body = {"email": "ama@example.com", "amount": 250000, "authorization_code": code, "reference": "r"}
        body["callback_url"] = f"{sandbox.url}/_sandbox/?shop=1"
        answer = api.session.post(f"{api.url}/transaction/charge_authorization", json=body, timeout=10).json()
        assert answer["data"]["paused"] is True
        page.goto(answer["data"]["authorization_url"])

    return open_challenge


def test_a_challenged_charge_is_confirmed_on_the_banks_page_and_leads_back(
    api: Api, page: Page, challenge: Callable[[], None], catcher: WebhookCatcher
) -> None:
    challenge()
    assert "4081" in page.inner_text("dl")
    assert api.verify("r")["status"] == "abandoned"
    page.click("text=Authenticate")
    page.wait_for_selector("h1:has-text('Payment successful')")
    page.wait_for_url("**/_sandbox/?shop=1&trxref=r&reference=r")
    assert api.verify("r")["status"] == "success"
    assert catcher.wait_for(2)[1].event["data"]["reference"] == "r"


def test_a_challenge_that_fails_says_so_and_nothing_is_taken(
    api: Api, page: Page, challenge: Callable[[], None], catcher: WebhookCatcher, sandbox: RunningSandbox
) -> None:
    challenge()
    page.click("text=Fail authentication")
    assert "Payment not completed" in page.inner_text("[role=alert]")
    assert api.verify("r")["status"] == "failed"
    sandbox.control("clock", {"advance_seconds": 0})
    assert [caught.event["data"]["reference"] for caught in catcher.caught] == ["saved"]


def test_it_works_without_scripts(browser: Browser, api: Api) -> None:
    context = browser.new_context(viewport=PHONE, java_script_enabled=False)
    page = context.new_page()
    page.goto(api.initialize(reference="r").json()["data"]["authorization_url"])
    page.click("text=PIN 1111")
    page.click(PAY)
    page.fill("#pin", "1111")
    page.click("text=Authorize payment")
    page.wait_for_selector("h1:has-text('Payment successful')")
    context.close()


@pytest.mark.parametrize("path", ["card", "bank", "bank_transfer", "ussd", "book"])
def test_nothing_is_wider_than_a_small_phone(
    page: Page, checkout: Callable[..., None], sandbox: RunningSandbox, path: str
) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    checkout(reference="a-rather-long-reference-0123456789-0123456789", email=f"{'long' * 12}@example.com")
    page.goto(f"{sandbox.url}/_sandbox/" if path == "book" else f"{page.url}?channel={path}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_every_field_has_a_label_and_every_target_is_big_enough(page: Page, checkout: Callable[..., None]) -> None:
    checkout()
    unlabelled = "[...document.querySelectorAll('input:not([type=hidden]),select')].filter(f => !f.labels.length)"
    assert page.evaluate(f"{unlabelled}.length") == 0
    small = "[...document.querySelectorAll('button,a,summary')].filter(e => e.checkVisibility()"
    assert page.evaluate(f"{small} && e.offsetHeight < 40).map(e => e.textContent)") == []


def test_the_clock_can_be_moved_from_the_books_page(page: Page, sandbox: RunningSandbox) -> None:
    page.goto(f"{sandbox.url}/_sandbox/")
    page.click("text=Freeze")
    page.wait_for_selector(".pill:has-text('frozen')")
    before = page.inner_text(".clock strong")
    page.click("text=+1 h")
    page.wait_for_function("then => document.querySelector('.clock strong').textContent !== then", arg=before)
    assert sandbox.control("clock")["offset_seconds"] >= 3500
