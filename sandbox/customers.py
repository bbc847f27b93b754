"""The endpoints under /customer, and how a customer looks in their answers."""

from __future__ import annotations

from collections import Counter

from sandbox.answers import Answer, customer_not_found, success
from sandbox.book import Book, Customer
from sandbox.clock import iso
from sandbox.gate import Call
from sandbox.initialization import read_email, read_metadata, read_text
from sandbox.paging import Test, by_cursor, by_number, matching, wants_cursor, within
from sandbox.shapes import INTEGRATION
from sandbox.wire import Json, JsonObject
from sandbox.world import World


def create(world: World, call: Call) -> Answer:
    """Make a customer; an address that is known already names that customer, with what is new about them."""
    customer = world.book.customer_for(read_email(call.body.get("email")), now_ms=world.clock.now_ms())
    _learn(world, customer, call.body)
    return success("Customer created", _detailed(world.book, customer))


def list_customers(world: World, call: Call) -> Answer:
    """List customers, newest first."""
    tests: list[Test[Customer]] = [*within(call.query)]
    found = matching(reversed(world.book.customers.values()), tests)
    page = by_cursor(found, call.query) if wants_cursor(call.query) else by_number(found, call.query)
    return success("Customers retrieved", [_listed(row) for row in page.rows], meta=page.meta)


def fetch(world: World, call: Call) -> Answer:
    """Tell who a customer is, what they paid, and what they can be charged with."""
    customer = _found(world, call.path["email_or_code"])
    transactions = world.book.transactions_of(customer)
    paid: Counter[str] = Counter()
    for row in transactions:
        paid[row.currency] += row.amount if row.paid else 0
    shape = _detailed(world.book, customer)
    return success(
        "Customer retrieved",
        {
            **shape,
            "created_at": shape["createdAt"],
            "updated_at": shape["updatedAt"],
            "total_transactions": sum(row.paid for row in transactions),
            "total_transaction_value": [
                {"currency": currency, "amount": amount} for currency, amount in paid.items() if amount
            ],
            "dedicated_account": None,
            "dedicated_accounts": [],
        },
    )


def update(world: World, call: Call) -> Answer:
    """Change what is known of a customer; what is left out stays."""
    customer = _found(world, call.path["code"])
    _learn(world, customer, call.body)
    return success("Customer updated", _detailed(world.book, customer))


def _found(world: World, email_or_code: str) -> Customer:
    customer = world.book.find_customer(email_or_code)
    if customer is None:
        raise customer_not_found()
    return customer


def _learn(world: World, customer: Customer, body: JsonObject) -> None:
    customer.first_name = read_text(body.get("first_name")) or customer.first_name
    customer.last_name = read_text(body.get("last_name")) or customer.last_name
    customer.phone = read_text(body.get("phone")) or customer.phone
    metadata = read_metadata(body.get("metadata"))
    if isinstance(metadata, dict):
        customer.metadata = metadata
    customer.updated_at = world.clock.now_ms()
    world.book.dirty = True


def _listed(customer: Customer) -> JsonObject:
    return {
        "integration": INTEGRATION,
        "first_name": customer.first_name,
        "last_name": customer.last_name,
        "email": customer.email,
        "phone": customer.phone,
        "metadata": customer.metadata,
        "domain": "test",
        "customer_code": customer.code,
        "risk_action": "default",
        "id": customer.id,
        "createdAt": iso(customer.created_at),
        "updatedAt": iso(customer.updated_at),
    }


def _detailed(book: Book, customer: Customer) -> JsonObject:
    authorizations: list[Json] = [row.details for row in book.authorizations_of(customer)]
    return {
        # The published samples leave transactions empty even where there are some.
        "transactions": [],
        "subscriptions": [],
        "authorizations": authorizations,
        **_listed(customer),
        "identified": False,
        "identifications": None,
    }
