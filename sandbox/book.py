"""The sandbox's book of truth: transactions, refunds, customers, authorizations, webhooks, counters."""

from __future__ import annotations

import hashlib
import random
import string
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from sandbox.wire import JsonObject

# Paystack's ids have long passed 2^31; starting above it shows up clients with too small integers.
_FIRST_ID = 4_100_000_000
_CODE_ALPHABET = string.ascii_lowercase + string.digits
_SIGNATURE_ALPHABET = string.ascii_letters + string.digits


@dataclass(slots=True)
class Customer:
    """A payer, one per e-mail address (compared in lower case)."""

    id: int
    email: str
    code: str
    created_at: int
    updated_at: int
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    metadata: JsonObject | None = None


@dataclass(slots=True)
class Authorization:
    """A way to pay that a payment left behind, as answers show it; one that is not active pays no more."""

    customer_id: int
    details: JsonObject
    active: bool = True


@dataclass(slots=True)
class Planned:
    """A payment that will happen by itself: autopay, or a transfer on its way. Times in epoch ms."""

    at_ms: int
    instrument: JsonObject
    gateway_response: str
    decline: str | None = None
    declined_status: str = "failed"
    amount: int | None = None
    currency: str | None = None


@dataclass(slots=True)
class ChargePlan:
    """How the next charge of a saved authorization will go; one that names no code and no e-mail is for any.

    ``available`` is what the customer has where funds are insufficient: a partial debit takes it. A charge
    that is pending ends ``delay_ms`` later as ``then`` says.
    """

    outcome: str
    authorization_code: str | None = None
    email: str | None = None
    gateway_response: str | None = None
    available: int = 0
    then: str = "success"
    delay_ms: int = 5_000


@dataclass(slots=True)
class PageState:
    """Where the customer is on the checkout page.

    ``turn`` grows with every step taken, so that a form posted twice is recognised. ``instrument`` holds
    what was chosen once it is known to be a test instrument; a number that is not one is never kept.
    With ``one_try`` a decline is the end: a charge by the API cannot be paid another way.
    """

    turn: int = 0
    channel: str | None = None
    step: str = "choose"
    instrument: JsonObject = field(default_factory=dict)
    remaining: list[str] = field(default_factory=list)
    error: str | None = None
    cancelled: bool = False
    one_try: bool = False

    def end_try(self) -> None:
        """Leave the steps of what was chosen, for another choice or, where there is none, for good."""
        self.step, self.instrument, self.remaining = "ended" if self.one_try else "choose", {}, []


@dataclass(slots=True)
class Transaction:
    """One transaction. Amounts are in subunits, times in epoch milliseconds."""

    id: int
    reference: str
    access_code: str
    amount: int
    requested_amount: int
    currency: str
    customer_id: int
    created_at: int
    channels: list[str]
    metadata: JsonObject | str | None
    callback_url: str | None
    label: str | None = None
    status: str = "abandoned"
    gateway_response: str = "The transaction was not completed"
    message: str | None = None
    paid_at: int | None = None
    channel: str = "card"
    fees: int | None = None
    fees_breakdown: JsonObject | None = None
    authorization: JsonObject = field(default_factory=dict)
    ip_address: str | None = None
    log: JsonObject | None = None
    # What made it, as Paystack names it: transaction_initialize or charge.
    entry_point: str = "transaction_initialize"
    initialize_calls: int = 0
    charge_calls: int = 0
    verify_calls: int = 0
    planned: Planned | None = None
    page: PageState = field(default_factory=PageState)

    @property
    def paid(self) -> bool:
        """Tell whether it was ever paid: a refund changes the status, never this."""
        return self.paid_at is not None


@dataclass(slots=True)
class Refund:
    """Money on its way back: pending, processing, then processed, failed or needs-attention.

    ``outcome`` is how it will end by itself, ``next_at_ms`` when its next step is due.
    """

    id: int
    transaction_id: int
    amount: int
    created_at: int
    updated_at: int
    customer_note: str
    merchant_note: str
    outcome: str
    status: str = "pending"
    refunded_at: int | None = None
    next_at_ms: int | None = None


@dataclass(slots=True)
class Attempt:
    """One try to deliver a webhook: when, and either the HTTP status or what went wrong."""

    at_ms: int
    status_code: int | None
    error: str | None


@dataclass(slots=True)
class Delivery:
    """One webhook and its tries. ``status`` is pending, delivered, failed or dropped."""

    id: str
    event: str
    reference: str | None
    url: str
    body: str
    status: str = "pending"
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    next_at_ms: int | None = None
    # How many tries of the schedule are used up; a resend starts the schedule again.
    tries: int = 0
    copy_of: str | None = None


class Book:
    """Everything the sandbox knows, in memory, with the indexes its look-ups need."""

    def __init__(self, *, seed: int | None) -> None:
        """Start empty; the same seed hands out the same ids and codes in the same order."""
        self._random = random.Random(seed)
        self.next_id = _FIRST_ID
        self.transactions: dict[int, Transaction] = {}
        self.by_reference: dict[str, Transaction] = {}
        self.by_access_code: dict[str, Transaction] = {}
        self.customers: dict[int, Customer] = {}
        self.customers_by_email: dict[str, Customer] = {}
        self.customers_by_code: dict[str, Customer] = {}
        self.authorizations: dict[str, Authorization] = {}
        # What the stand-ins of the merchant's own services answer, by id.
        self.users: dict[str, JsonObject] = {}
        self.orders: dict[str, JsonObject] = {}
        self.charge_plans: list[ChargePlan] = []
        self.refunds: dict[int, Refund] = {}
        self._transactions_of: defaultdict[int, list[Transaction]] = defaultdict(list)
        self._refunds_of: defaultdict[int, list[Refund]] = defaultdict(list)
        self.deliveries: dict[str, Delivery] = {}
        self.counters: Counter[str] = Counter()
        # Set by every change, cleared by whoever writes the snapshot.
        self.dirty = False

    def new_id(self) -> int:
        """Return a numeric id never used before, growing with gaps as Paystack's do."""
        self.next_id += self._random.randint(1, 40)
        return self.next_id

    def new_code(self, prefix: str, length: int) -> str:
        """Return a random lower-case code such as ``AUTH_uh8bcl3zbn``."""
        return prefix + "".join(self._random.choices(_CODE_ALPHABET, k=length))

    def new_reference(self) -> str:
        """Return a free reference of Paystack's own making: 10 lower-case alphanumerics."""
        while (reference := self.new_code("", 10)) in self.by_reference:
            pass
        return reference

    def customer_for(self, email: str, *, now_ms: int) -> Customer:
        """Find the customer with this address, or make one."""
        key = email.lower()
        customer = self.customers_by_email.get(key)
        if customer is None:
            customer = Customer(self.new_id(), key, self.new_code("CUS_", 15), created_at=now_ms, updated_at=now_ms)
            self.add_customer(customer)
        return customer

    def find_customer(self, email_or_code: str) -> Customer | None:
        """Find a customer by code or, in any case of its letters, by e-mail address."""
        return self.customers_by_code.get(email_or_code) or self.customers_by_email.get(email_or_code.lower())

    def add_customer(self, customer: Customer) -> None:
        """Enter a customer."""
        self.customers[customer.id] = customer
        self.customers_by_email[customer.email] = customer
        self.customers_by_code[customer.code] = customer
        self.dirty = True

    def add_transaction(self, transaction: Transaction) -> None:
        """Enter a transaction; its reference must be free."""
        self.transactions[transaction.id] = transaction
        self.by_reference[transaction.reference] = transaction
        self.by_access_code[transaction.access_code] = transaction
        self._transactions_of[transaction.customer_id].append(transaction)
        self.dirty = True

    def find(self, id_or_reference: str) -> Transaction | None:
        """Find a transaction by its reference or its numeric id."""
        found = self.by_reference.get(id_or_reference)
        if found is None and id_or_reference.isascii() and id_or_reference.isdigit():
            # Longer numbers are no ids, and int() refuses them above 4,300 digits.
            found = self.transactions.get(int(id_or_reference[:20]))
        return found

    def transactions_of(self, customer: Customer) -> list[Transaction]:
        """List a customer's transactions, oldest first."""
        return list(self._transactions_of.get(customer.id, ()))

    def add_authorization(self, authorization: Authorization) -> None:
        """Enter an authorization; its code must be new."""
        self.authorizations[str(authorization.details["authorization_code"])] = authorization
        self.dirty = True

    def authorizations_of(self, customer: Customer) -> list[Authorization]:
        """List what a customer can still be charged with, oldest first."""
        codes = dict.fromkeys(row.authorization.get("authorization_code") for row in self.transactions_of(customer))
        known = (self.authorizations.get(code) for code in codes if isinstance(code, str))
        return [row for row in known if row is not None and row.active]

    def take_charge_plan(self, *, authorization_code: str, email: str) -> ChargePlan:
        """Take the oldest plan made for this charge; a charge that nobody planned succeeds."""
        for plan in self.charge_plans:
            if plan.authorization_code in (None, authorization_code) and plan.email in (None, email):
                self.charge_plans.remove(plan)
                self.dirty = True
                return plan
        return ChargePlan("success")

    def add_refund(self, refund: Refund) -> None:
        """Enter a refund."""
        self.refunds[refund.id] = refund
        self._refunds_of[refund.transaction_id].append(refund)
        self.dirty = True

    def find_refund(self, refund_id: str) -> Refund | None:
        """Find a refund by its numeric id."""
        return self.refunds.get(int(refund_id[:20])) if refund_id.isascii() and refund_id.isdigit() else None

    def refunds_of(self, transaction: Transaction) -> list[Refund]:
        """List a transaction's refunds, oldest first."""
        return list(self._refunds_of.get(transaction.id, ()))


def signature_of(instrument_number: str) -> str:
    """Return the signature of a card: the same for every customer and every use of it."""
    digest = int.from_bytes(hashlib.sha256(instrument_number.encode()).digest())
    letters: list[str] = []
    for _ in range(20):
        digest, index = divmod(digest, len(_SIGNATURE_ALPHABET))
        letters.append(_SIGNATURE_ALPHABET[index])
    return "SIG_" + "".join(letters)
