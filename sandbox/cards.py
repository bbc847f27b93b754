"""Paystack's published test cards: what each one asks for and how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Step = Literal["pin", "phone", "otp", "address", "bank_page"]

# Any future date works; this one is shown in the samples and is what a control call pays with.
EXPIRY_MONTH, EXPIRY_YEAR = "12", "2030"

# What a bank holds against the address it has, in the order people write it.
ADDRESS_FIELDS = ("address", "city", "state", "zip_code")

UNKNOWN_CARD = "Transaction declined. Please use the test card."
INCORRECT_PIN = "Incorrect PIN"
INCORRECT_OTP = "Token Authorization Not Successful. Incorrect OTP"
BANK_REFUSED = "3DSecure authentication failed"


@dataclass(frozen=True, slots=True)
class TestCard:
    """One test card.

    ``decline`` is the reason it ends with, None if it pays. A card declined without having asked for
    anything leaves the transaction abandoned; one that fails after a step leaves it failed.
    """

    number: str
    cvv: str
    label: str
    steps: tuple[Step, ...] = ()
    pin: str = ""
    decline: str | None = None

    @property
    def declined_status(self) -> str:
        """Name the status a decline of this card leaves: failed only once it had asked for something."""
        return "failed" if self.steps else "abandoned"

    @property
    def brand(self) -> str:
        """Name the card scheme by its first digits."""
        match self.number[:1], self.number[:4]:
            case "4", _:
                return "visa"
            case _, ("5078" | "5060" | "5061"):
                return "verve"
            case _:
                return "mastercard"


TEST_CARDS: tuple[TestCard, ...] = (
    TestCard("4084084084084081", "408", "Succeeds at once"),
    TestCard("507850785078507812", "081", "PIN 1111", ("pin",), pin="1111"),
    TestCard("5060666666666666666", "123", "PIN 1234, OTP 123456", ("pin", "otp"), pin="1234"),
    TestCard("507850785078507804", "884", "PIN 0000, phone, OTP 123456", ("pin", "phone", "otp"), pin="0000"),
    TestCard("5192602720584796", "123", "Bank authentication", ("bank_page",)),
    TestCard("4084080000005408", "001", "Declined", decline="Declined"),
    TestCard(
        "507850785078507853",
        "082",
        "PIN 0000, no token",
        ("pin",),
        pin="0000",
        decline="Token Not Generated. Customer Not Registered on Token Platform",
    ),
    TestCard("4084080000670037", "787", "Insufficient funds", decline="Insufficient Funds"),
    TestCard("4084080000671803", "180", "Succeeds; a refund of it fails"),
    TestCard("4084080000671902", "190", "Succeeds; a refund of it needs attention"),
    # The sandbox's own: Paystack has published no card whose bank asks for the address.
    TestCard("4084080124000004", "412", "Billing address", ("address",)),
)

# Named by older integration guides; they have no published CVV, so any is taken.
_OLDER_CARDS: tuple[TestCard, ...] = (
    TestCard("5061020283705678", "", "Insufficient funds", decline="Insufficient Funds"),
    TestCard("5060990580000217403", "", "Wrong PIN", ("pin",), pin="", decline=INCORRECT_PIN),
)
_BY_NUMBER = {card.number: card for card in (*TEST_CARDS, *_OLDER_CARDS)}

TEST_OTP = "123456"
PHONE_DIGITS_MIN = 10


def find_card(number: str) -> TestCard | None:
    """Find a test card by its digits, blanks and dashes ignored; None for any other card."""
    return _BY_NUMBER.get(number.replace(" ", "").replace("-", ""))
