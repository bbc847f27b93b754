"""A customer at the checkout page, by plain forms: what a browser without scripts does."""

import re
from dataclasses import dataclass, field
from html import unescape

import requests

EXPIRY = "12 / 30"


@dataclass
class Visitor:
    """Keeps the page and posts its forms."""

    url: str
    session: requests.Session = field(default_factory=requests.Session)
    page: requests.Response = field(init=False)

    def __post_init__(self) -> None:
        self.open()

    @property
    def text(self) -> str:
        return unescape(self.page.text)

    def open(self, query: str = "") -> None:
        self.page = self.session.get(self.url + query, timeout=10)

    def submit(self, action: str, **fields: str) -> None:
        turn = re.search(r'name="turn" value="(\d+)"', self.page.text)
        assert turn, self.page.text
        form = {"action": action, "turn": turn[1]} | fields
        self.page = self.session.post(self.url, data=form, timeout=10)

    def card(self, number: str, cvv: str, expiry: str = EXPIRY) -> None:
        self.submit("card", number=number, cvv=cvv, expiry=expiry)
