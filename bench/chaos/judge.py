"""The verdict: what clients were told, our book and Paystack's own are held against each other.

Each check finds what must not be there and says how grave it is. None of them knows what was broken meanwhile, nor how
Payfleet works inside: money, promises, and that nothing is left lying.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from bench.chaos.books import PAID, Leftover, Ours, Theirs, TheirTransaction
from bench.chaos.told import NO_ANSWER, Told

# What a client may be answered while things break: the two last mean "send it again".
_FITTING = frozenset({NO_ANSWER, 200, 201, 202, 409, 503})
_AGREED: Mapping[str, frozenset[str]] = {
    "processed": frozenset({"SUCCESS"}),
    "failed": frozenset({"FAILED"}),
    "needs-attention": frozenset({"NEEDS_ATTENTION"}),
}


class Gravity(StrEnum):
    """What kind of wrong it is."""

    LOST = "lost"
    """Promised or paid, and not in our book."""
    DOUBLE_CHARGED = "double-charged"
    DOUBLE_REFUNDED = "double-refunded"
    STUCK = "stuck"
    """Not finished, and it will not finish by itself."""
    WRONG = "wrong"
    """The books disagree in another way, or a client was told something untrue."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that must not be."""

    gravity: Gravity
    check: str
    subject: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All there is to judge by.

    `heard` are the events that a listener downstream got; while it was `deaf` (its own queue was wiped) it missed some.
    `late` is what was unfinished two minutes after the last fault with nothing to happen to it by itself.
    """

    told: Told
    ours: Ours
    theirs: Theirs
    heard: frozenset[str] = frozenset()
    #: What `payfleet check-books` found: the check, its subject, details.
    by_itself: Sequence[tuple[str, str, str]] = ()
    dead_letters: int = 0
    deaf: Sequence[tuple[datetime, datetime]] = ()
    late: Sequence[Leftover] = ()

    @cached_property
    def paid(self) -> Mapping[str, Sequence[TheirTransaction]]:
        """What Paystack was paid, by our payment."""
        found: defaultdict[str, list[TheirTransaction]] = defaultdict(list)
        for transaction in self.theirs.transactions.values():
            if transaction.paid and transaction.payment_id is not None:
                found[transaction.payment_id].append(transaction)
        return found


Check = Callable[[Evidence], Iterator[Finding]]
CHECKS: list[Check] = []


def check(function: Check) -> Check:
    """Enter a check into the list."""
    CHECKS.append(function)
    return function


def judge(evidence: Evidence) -> list[Finding]:
    """All findings, the gravest kinds first."""
    findings = [finding for function in CHECKS for finding in function(evidence)]
    order = list(Gravity)
    return sorted(findings, key=lambda finding: (order.index(finding.gravity), finding.check, finding.subject))


def counts(findings: Sequence[Finding]) -> dict[str, int]:
    """How many of each kind; kinds of which there are none as well."""
    found = Counter(finding.gravity for finding in findings)
    return {gravity.value: found[gravity] for gravity in Gravity}


# Promises


@check
def what_was_promised_is_stored(evidence: Evidence) -> Iterator[Finding]:
    """A 2xx is in the database: the very thing it named, for what was asked."""
    name = "what was promised is stored"
    ours = evidence.ours
    for request in evidence.told.requests:
        for told in request.ids:
            payment, refund = ours.payments.get(told), ours.refunds.get(told)
            stored = payment or refund
            if stored is None:
                yield Finding(Gravity.LOST, name, told, f"a client was told of it ({request.key}), and it is not there")
                continue
            subject = payment.order_id if payment else refund.payment_id if refund else ""
            if (subject, stored.amount) != (request.subject, request.amount):
                yield Finding(
                    Gravity.WRONG, name, told, f"asked: {request.subject}, {request.amount}; stored: {stored}"
                )
            if ours.keys.get(request.key) != told:
                yield Finding(Gravity.WRONG, name, told, f"the key {request.key} leads to {ours.keys.get(request.key)}")


@check
def one_key_names_one_thing(evidence: Evidence) -> Iterator[Finding]:
    """However often a request was sent, its answers name the same thing."""
    for request in evidence.told.requests:
        if len(request.ids) > 1:
            yield Finding(Gravity.WRONG, "one key names one thing", request.key, f"it was told {sorted(request.ids)}")


@check
def one_intention_made_one_thing(evidence: Evidence) -> Iterator[Finding]:
    """A request that was sent again did not make a second payment or refund, nor was anything made unasked."""
    name = "one intention made one thing"
    rows = Counter(payment.order_id for payment in evidence.ours.payments.values())
    asked = {request.subject for request in evidence.told.of_kind("payment")}
    for order_id, count in rows.items():
        if count > 1:
            yield Finding(Gravity.DOUBLE_CHARGED, name, order_id, f"one order, {count} payments")
        if order_id not in asked:
            yield Finding(Gravity.WRONG, name, order_id, "a payment for an order that nobody placed")
    wanted = Counter(request.subject for request in evidence.told.of_kind("refund"))
    made = Counter(refund.payment_id for refund in evidence.ours.refunds.values())
    for payment_id, count in made.items():
        if count > wanted[payment_id]:
            what = f"{wanted[payment_id]} refunds asked for, {count} made"
            yield Finding(Gravity.DOUBLE_REFUNDED, name, payment_id, what)


@check
def what_was_shown_stays_true(evidence: Evidence) -> Iterator[Finding]:
    """A client that was shown a payment as paid is not told otherwise later."""
    name = "what was shown stays true"
    for request in evidence.told.of_kind("payment"):
        shown = [status.upper() in PAID for status in request.statuses]
        if True in shown and False in shown[shown.index(True) :]:
            yield Finding(Gravity.WRONG, name, request.key, f"shown as {', '.join(request.statuses)}")
        for told in request.ids:
            payment = evidence.ours.payments.get(told)
            if True in shown and payment is not None and payment.status not in PAID:
                yield Finding(Gravity.LOST, name, told, f"shown as paid, and is {payment.status}")


@check
def answers_fit(evidence: Evidence) -> Iterator[Finding]:
    """No client was answered with a defect of ours, and nobody believed a forged webhook."""
    name = "answers fit"
    for request in evidence.told.requests:
        for answer in request.answers:
            if answer.status not in _FITTING:
                yield Finding(Gravity.WRONG, name, request.key, f"answered with {answer.status} {answer.code}")
    for answer in evidence.told.forged:
        if answer.status not in {NO_ANSWER, 401, 503}:
            yield Finding(Gravity.WRONG, name, "forged webhook", f"answered with {answer.status}")


# Money coming in


@check
def money_that_came_is_known(evidence: Evidence) -> Iterator[Finding]:
    """What a customer paid as asked counts as paid."""
    name = "money that came is known"
    for payment_id, transactions in evidence.paid.items():
        payment = evidence.ours.payments.get(payment_id)
        for paid in transactions:
            if payment is None:
                yield Finding(Gravity.LOST, name, payment_id, f"{paid.reference} is paid, and we have no such payment")
            elif (paid.amount, paid.currency) == (payment.amount, payment.currency) and payment.status not in PAID:
                yield Finding(Gravity.LOST, name, payment_id, f"{paid.reference} is paid, and it is {payment.status}")


@check
def nobody_is_charged_twice(evidence: Evidence) -> Iterator[Finding]:
    """A payment was paid by one transaction at most: each customer pays once, and Payfleet charges a card once."""
    for payment_id, transactions in evidence.paid.items():
        if len(transactions) > 1:
            what = ", ".join(f"{paid.reference} ({paid.amount})" for paid in transactions)
            yield Finding(Gravity.DOUBLE_CHARGED, "nobody is charged twice", payment_id, what)


@check
def what_counts_as_paid_was_paid(evidence: Evidence) -> Iterator[Finding]:
    """Every payment that counts as paid stands in Paystack's book as paid, with its number, amount and currency."""
    name = "what counts as paid was paid"
    for payment in evidence.ours.payments.values():
        if payment.status not in PAID:
            continue
        paid = evidence.theirs.transactions.get(payment.transaction_id or 0)
        if paid is None or not paid.paid or paid.payment_id != payment.id:
            what = f"{payment.status}, and Paystack was not paid for it"
            yield Finding(Gravity.WRONG, name, payment.id, what)
        elif (paid.amount, paid.currency) != (payment.amount, payment.currency):
            yield Finding(Gravity.WRONG, name, payment.id, f"asked {payment.amount}, paid {paid.amount}")


@check
def odd_money_is_flagged(evidence: Evidence) -> Iterator[Finding]:
    """Money of another amount or currency than asked for calls a person."""
    for payment_id, transactions in evidence.paid.items():
        payment = evidence.ours.payments.get(payment_id)
        for paid in transactions:
            if payment is None or payment.review_reason is not None:
                continue
            if (paid.amount, paid.currency) != (payment.amount, payment.currency):
                what = f"asked {payment.amount} {payment.currency}, paid {paid.amount} {paid.currency}, and no flag"
                yield Finding(Gravity.WRONG, "odd money is flagged", payment_id, what)


# Money going back


@check
def nobody_is_refunded_twice(evidence: Evidence) -> Iterator[Finding]:
    """Each refund of ours stands in Paystack's book once at most, and no more goes back than came."""
    name = "nobody is refunded twice"
    alive = [refund for refund in evidence.theirs.refunds if refund.alive]
    for note, count in Counter(refund.note for refund in alive).items():
        if count > 1:
            yield Finding(Gravity.DOUBLE_REFUNDED, name, note, f"{count} refunds at Paystack")
    back: Counter[int] = Counter()
    for refund in alive:
        back[refund.transaction_id] += refund.amount
    for transaction_id, amount in back.items():
        came = evidence.theirs.transactions[transaction_id].amount
        if amount > came:
            yield Finding(Gravity.DOUBLE_REFUNDED, name, str(transaction_id), f"{came} came, {amount} goes back")


@check
def refunds_agree(evidence: Evidence) -> Iterator[Finding]:
    """Each refund of theirs is one of ours, and both books say the same of it."""
    name = "refunds agree"
    theirs = {refund.note: refund for refund in evidence.theirs.refunds}
    notes = {refund.note for refund in evidence.ours.refunds.values()}
    for note in theirs.keys() - notes:
        yield Finding(Gravity.LOST, name, note, "Paystack has it, and we do not")
    for ours in evidence.ours.refunds.values():
        other = theirs.get(ours.note)
        if other is None:
            if ours.status != "FAILED":
                yield Finding(Gravity.LOST, name, ours.id, f"{ours.status}, and Paystack does not have it")
        elif ours.status not in _AGREED.get(other.status, frozenset({"PENDING", "PROCESSING"})):
            yield Finding(Gravity.WRONG, name, ours.id, f"{ours.status}, and {other.status} at Paystack")
        elif (ours.amount, ours.refund_id) != (other.amount, other.id):
            yield Finding(Gravity.WRONG, name, ours.id, f"{ours.amount} as {ours.refund_id}; theirs: {other}")


@check
def what_was_given_back_adds_up(evidence: Evidence) -> Iterator[Finding]:
    """What a payment says was given back is what Paystack gave back."""
    back: Counter[int] = Counter()
    for refund in evidence.theirs.refunds:
        back[refund.transaction_id] += refund.amount if refund.status == "processed" else 0
    for payment in evidence.ours.payments.values():
        given = back[payment.transaction_id or 0]
        if payment.refunded != given:
            what = f"{payment.refunded} by our book, {given} by Paystack's"
            yield Finding(Gravity.WRONG, "what was given back adds up", payment.id, what)


# What is left


@check
def the_book_contradicts_itself_nowhere(evidence: Evidence) -> Iterator[Finding]:
    """Rows that must agree, agree."""
    for what, subject in evidence.ours.broken:
        yield Finding(Gravity.WRONG, "the book contradicts itself nowhere", subject, what)


@check
def payfleet_finds_nothing_either(evidence: Evidence) -> Iterator[Finding]:
    """Its own look through its books comes to the same end."""
    for name, subject, detail in evidence.by_itself:
        yield Finding(Gravity.WRONG, "payfleet finds nothing either", subject, f"{name}: {detail}")


@check
def events_arrived(evidence: Evidence) -> Iterator[Finding]:
    """Every event that was written reached a listener downstream."""
    for event_id, published_at in evidence.ours.events.items():
        if event_id in evidence.heard or published_at is None:
            continue
        if not any(begin <= published_at <= end for begin, end in evidence.deaf):
            what = f"published {published_at:%H:%M:%S}, never heard"
            yield Finding(Gravity.LOST, "events arrived", event_id, what)


@check
def nothing_is_left_over(evidence: Evidence) -> Iterator[Finding]:
    """No job, call, webhook, event or refund is unfinished."""
    for left in evidence.ours.leftovers:
        what = f"{left.what} {left.state}: {left.reason or 'no reason given'}"
        yield Finding(Gravity.STUCK, "nothing is left over", left.subject, what)
    if evidence.dead_letters:
        what = "left in RabbitMQ's dead-letter queues"
        yield Finding(Gravity.STUCK, "nothing is left over", f"{evidence.dead_letters} messages", what)
    if evidence.theirs.undelivered:
        what = "events of Paystack's of which no copy arrived"
        yield Finding(Gravity.STUCK, "nothing is left over", f"{evidence.theirs.undelivered} webhooks", what)


@check
def nothing_waits_for_nothing(evidence: Evidence) -> Iterator[Finding]:
    """Two minutes after the last fault, whatever is unfinished has a next step, with a time."""
    for left in evidence.late:
        what = f"{left.what} {left.state}: {left.reason or 'no reason given'}"
        yield Finding(Gravity.STUCK, "nothing waits for nothing", left.subject, what)


@check
def every_request_was_answered(evidence: Evidence) -> Iterator[Finding]:
    """Every client got its 2xx in the end."""
    for request in evidence.told.requests:
        if not request.accepted:
            last = request.answers[-1].status if request.answers else "nothing at all"
            yield Finding(Gravity.STUCK, "every request was answered", request.key, f"the last answer was {last}")
