"""`/payments/callback`: where Paystack sends the customer's browser back; it proves nothing, so Paystack is asked."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit, urlunsplit

from flask import Blueprint, Response, g, request
from werkzeug.urls import iri_to_uri

from db import payments
from domain.errors import RefusedError, UnavailableError
from domain.ids import Prefix, show
from ingress.callback_page import CONTENT_SECURITY_POLICY, payment_page, unavailable_page, unknown_page
from ingress.verification import find_by_reference, has_its_answer, looked_at_since, request_look

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from db.connection import Connection, Database
    from domain.payment import Payment
    from ingress.waiting import WaitingRoom

_WAIT_SECONDS = 5  # a customer looks at an empty page meanwhile
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def callback_blueprint(database: Database, waiting_room: WaitingRoom, own_url: str | None) -> Blueprint:
    """Make the route; `own_url` is its public address, where that is known."""
    routes = Blueprint("callback", __name__)

    @routes.get("/payments/callback")
    def come_back() -> Response:
        with database.connection() as connection:
            payment = _payment_of_query(connection)
            if payment is None:
                return _page(unknown_page(), HTTPStatus.NOT_FOUND)
            details = payments.get_order_details(connection, [payment.id])[payment.id]
            asked_at = None if has_its_answer(payment) else request_look(connection, payment)
        if asked_at is not None:
            # Without a place to wait in, or an answer in time, the customer goes on with what is known.
            payment = waiting_room.wait(looked_at_since(asked_at), payment.id, _WAIT_SECONDS) or payment
        shop = _shop_address(details.callback_url, own_url)
        if shop is None:
            return _page(payment_page(payment))
        return Response(status=HTTPStatus.SEE_OTHER, headers={**_headers(), "Location": _onward(shop, payment)})

    @routes.errorhandler(UnavailableError)
    def _unavailable(_: UnavailableError) -> Response:
        return _page(unavailable_page(), HTTPStatus.SERVICE_UNAVAILABLE)

    return routes


def _payment_of_query(connection: Connection) -> Payment | None:
    """Find the payment that the query names; what it says beside the reference is not looked at."""
    reference = request.args.get("reference") or request.args.get("trxref") or ""
    try:
        return find_by_reference(connection, reference)
    except RefusedError:
        return None


def _shop_address(callback_url: str | None, own_url: str | None) -> SplitResult | None:
    """Read the address the payment came with; None if there is none, or it leads here again, without end."""
    try:
        address = urlsplit(callback_url or "")
    except ValueError:
        return None
    here = {_without_query(urlsplit(url)) for url in (own_url, request.base_url) if url}
    if address.scheme not in {"http", "https"} or _without_query(address) in here:
        return None
    return address


def _without_query(address: SplitResult) -> tuple[str, str, str]:
    return address.scheme, address.netloc.lower(), address.path


def _onward(shop: SplitResult, payment: Payment) -> str:
    """Add what became of the payment to the shop's own address; a hint for its page, to be asked about, not trusted."""
    ours = urlencode(
        {
            "paymentId": show(Prefix.PAYMENT, payment.id),
            "reference": payment.reference,
            "status": payment.status.lower(),
        }
    )
    query = f"{shop.query}&{ours}" if shop.query else ours
    return iri_to_uri(urlunsplit(shop._replace(query=query)))


def _page(html: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(html, status, headers=_headers(), mimetype="text/html")


def _headers() -> dict[str, str]:
    return {**_HEADERS, "X-Request-Id": g.request_id}
