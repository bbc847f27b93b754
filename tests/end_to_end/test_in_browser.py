"""A customer pays with a PIN card on the checkout page, in a real browser, and the payment succeeds."""

from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.end_to_end.fleet import Fleet, wait_until

PHONE = {"width": 390, "height": 844}


@pytest.mark.browser
def test_a_customer_pays_on_a_phone_and_the_payment_succeeds(fleet: Fleet, chromium_path: str, tmp_path: Path) -> None:
    shop = f"{fleet.web_url}/health"  # any page of the merchant's will do
    payment = fleet.post_payment(wait=20, callbackUrl=shop).json()["data"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
        page = browser.new_page(viewport=PHONE)  # pyright: ignore[reportArgumentType]
        page.goto(payment["authorizationUrl"])
        page.screenshot(path=tmp_path / "checkout.png")
        page.click("text=PIN 1234, OTP 123456")
        page.click("button:has-text('Pay NGN 2,500.00')")
        page.fill("#pin", "1234")
        page.keyboard.press("Enter")
        page.fill("#otp", "123456")
        page.click("text=Authorize payment")
        page.wait_for_url(f"{shop}?trxref={payment['reference']}&reference={payment['reference']}")
        browser.close()
    wait_until(lambda: fleet.get_payment(payment["paymentId"])["status"] == "success", "the payment succeeded")
    assert fleet.get_payment(payment["paymentId"])["cardLast4"] == "6666"
