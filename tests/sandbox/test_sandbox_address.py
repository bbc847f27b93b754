"""A card whose bank asks for the billing address: by the API and on the checkout page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.customer import Visitor

if TYPE_CHECKING:
    from tests.sandbox.conftest import Api

CARD = {"number": "4084080124000004", "cvv": "412", "expiry_month": "12", "expiry_year": "2030"}
HOME = {"address": "1 Main St", "city": "Guelph", "state": "ON", "zip_code": "N1G 2W1"}


def post(api: Api, path: str, **body: Any) -> requests.Response:
    return api.session.post(f"{api.url}/charge{path}", json={"reference": "r"} | body, timeout=10)


def charge(api: Api) -> dict[str, Any]:
    return post(api, "", email="ama@example.com", amount=250000, card=CARD).json()["data"]


def test_a_charge_asks_for_the_address_and_pays_with_it(api: Api) -> None:
    assert charge(api) == {
        "reference": "r",
        "status": "send_address",
        "display_text": "Please send details for address verification",
        "country_code": "CA",
    }
    assert post(api, "/submit_address", **HOME).json()["data"] == api.verify("r")
    assert api.verify("r")["status"] == "success"


@pytest.mark.parametrize("left_out", HOME)
def test_half_an_address_is_refused_and_the_charge_lives_on(api: Api, left_out: str) -> None:
    charge(api)
    answer = post(api, "/submit_address", **HOME | {left_out: " "})
    assert (answer.status_code, left_out.replace("_", " ") in answer.json()["message"]) == (400, True)
    assert post(api, "/submit_address", **HOME).json()["data"]["status"] == "success"


def test_only_a_charge_that_asked_for_an_address_takes_one(api: Api) -> None:
    post(api, "", email="ama@example.com", amount=250000, card=CARD | {"number": "507850785078507812", "cvv": "081"})
    assert post(api, "/submit_address", **HOME).json()["message"] == "Transaction reference is invalid"


def test_the_page_asks_for_the_address_too(api: Api) -> None:
    visitor = Visitor(api.initialize(reference="r").json()["data"]["authorization_url"])
    visitor.card(CARD["number"], CARD["cvv"])
    visitor.submit("address", **HOME | {"city": ""})
    assert "Enter the city that the card's bank has." in visitor.text
    visitor.submit("address", **HOME)
    assert api.verify("r")["status"] == "success"
