"""Our books held against Paystack's: where they agree nothing is told, and each way to differ is found."""

import gc
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, LiteralString

import pytest

from db.connection import Database
from domain.books import AT_PAYSTACK, Check, Report, Window
from domain.errors import UnavailableError
from domain.ids import Prefix, reference_of, show
from domain.money import Currency, Money
from domain.payment import Payment, PaymentStatus
from domain.refund import Refund, RefundStatus
from jobs.books import check_books
from jobs.context import JobContext
from jobs.gateway_books import compare_with_paystack
from jobs.initialize import initialize_payments
from jobs.paystack.answers import Done
from jobs.paystack.client import InitializeRequest, ListedTransaction, Paystack
from jobs.paystack.transport import Transport
from jobs.refund_checks import check_refunds
from jobs.refunds import send_refunds
from jobs.webhooks import apply_webhooks
from sandbox.harness import RunningSandbox, running_sandbox
from sandbox.world import Options
from tests.refunding import ask_refund, pass_time, refund_now
from tests.stories import EMAIL, SECRET_KEY, accept, event_body, job_ids, payment_now, rows, store_webhook

# The exception of a lost answer holds its socket in a cycle, and Python calls what it collects there unclosed.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

PRICE = 500_000
WINDOW = Window(since=timedelta(days=7), quiet=timedelta(0))


@dataclass
class Both:
    """Both books, and the ways to write into them."""

    context: JobContext
    sandbox: RunningSandbox
    pauses: list[float] = field(default_factory=list)

    @property
    def database(self) -> Database:
        return self.context.database

    def compare(self, paystack: Paystack | None = None, window: Window = WINDOW) -> Report:
        report = Report()
        paystack = paystack or self.context.paystack
        compare_with_paystack(self.database, paystack, window, report, pause=self.pauses.append)
        assert set(report.findings) == AT_PAYSTACK, "and everything was looked for"
        return report

    def run(self, sql: LiteralString, *parameters: object) -> None:
        rows(self.database, sql, *parameters)

    def open(self) -> Payment:
        """A payment that waits for its customer, in both books."""
        payment = accept(self.database, amount=PRICE, currency=Currency.NGN)
        initialize_payments(self.context, job_ids(self.database))
        return payment

    def pay(self, payment: Payment, **how: Any) -> dict[str, Any]:
        """Have the customer pay; only Paystack knows of it yet."""
        return self.sandbox.control(f"transactions/{payment.reference}/pay", how)["transaction"]

    def hear(self, transaction: dict[str, Any]) -> None:
        """Let the news of a payment arrive."""
        store_webhook(self.database, event_body("charge.success", transaction))
        apply_webhooks(self.context, job_ids(self.database, "apply_webhook"))

    def paid(self) -> Payment:
        payment = self.open()
        self.hear(self.pay(payment))
        return payment_now(self.database, payment.id)

    def refund(self, payment: Payment, amount: int, *, outcome: str | None = "processed") -> Refund:
        """A refund that went through both books to its end, or is under way in both."""
        refund = ask_refund(self.database, payment, amount)
        send_refunds(self.context, job_ids(self.database, "send_refund"))
        if outcome is not None:
            self.settle(refund_now(self.database, refund.id), outcome)
            pass_time(self.database, 60)
            check_refunds(self.context, job_ids(self.database, "check_refund"))
            rows(self.database, "UPDATE test_clock SET clock_offset = interval '0'")
        return refund_now(self.database, refund.id)

    def settle(self, refund: Refund, outcome: str) -> None:
        self.sandbox.control(f"refunds/{refund.gateway_refund_id}/settle", {"outcome": outcome})

    def refund_in_dashboard(self, payment: Payment, amount: int, note: str = "by hand") -> int:
        """A refund that Paystack has and we do not; returns Paystack's number for it."""
        body = {"transaction": payment.gateway_transaction_id, "amount": amount, "merchant_note": note}
        response: Any = Transport(self.sandbox.url, SECRET_KEY).exchange("POST", "/refund", body)
        return response.body["data"]["id"]

    def open_transaction(self, reference: str, amount: int = PRICE) -> None:
        request = InitializeRequest(
            reference=reference,
            email=EMAIL,
            money=Money(amount, Currency.NGN),
            channels=(),
            callback_url=None,
            metadata={},
        )
        assert isinstance(self.context.paystack.initialize(request), Done)


@pytest.fixture
def both(context: JobContext) -> Generator[Both]:
    with running_sandbox(Options(seed=7, secret_key=SECRET_KEY, webhook_url="http://127.0.0.1:1")) as sandbox:
        yield Both(replace(context, paystack=Paystack(Transport(sandbox.url, SECRET_KEY))), sandbox)
        gc.collect()


def found(report: Report) -> dict[Check, list[str]]:
    return {check: list(subjects) for check, subjects in report.findings.items() if subjects}


def shown(payment: Payment) -> str:
    return show(Prefix.PAYMENT, payment.id)


def test_books_that_agree_differ_in_nothing(both: Both) -> None:
    both.open()
    both.paid()
    refunded = both.paid()
    assert both.refund(refunded, 100_000).status is RefundStatus.SUCCESS
    assert both.refund(refunded, 50_000, outcome=None).status is RefundStatus.PROCESSING
    both.refund(both.paid(), PRICE)
    both.open_transaction("shop-42")
    foreign = both.sandbox.control("transactions/shop-42/pay", {})["transaction"]
    Transport(both.sandbox.url, SECRET_KEY).exchange("POST", "/refund", {"transaction": foreign["id"], "amount": 6_000})
    report = both.compare()
    assert found(report) == {}
    assert report.looked_at == {
        "gateway_transactions": 5,
        "foreign_transactions": 1,
        "gateway_refunds": 4,
        "foreign_refunds": 1,
    }
    own = Report()
    check_books(both.database, WINDOW, own)
    assert set(found(own)) <= {Check.EVENT_UNPUBLISHED, Check.JOB_OVERDUE}, "no relay runs here, and nothing is quiet"


def test_money_at_paystack_that_is_not_paid_here(both: Both) -> None:
    payment = both.open()
    transaction = both.pay(payment)
    assert found(both.compare(window=replace(WINDOW, quiet=timedelta(minutes=15)))) == {}, "its news is on the way"
    report = both.compare()
    assert found(report) == {Check.GATEWAY_UNPAID: [shown(payment)]}
    both.hear(transaction)
    assert found(both.compare()) == {}
    both.run("DELETE FROM payments WHERE id = %s", payment.id)
    assert found(both.compare()) == {Check.GATEWAY_UNPAID: [shown(payment)]}


def test_money_that_was_held_for_a_person_is_no_difference(both: Both) -> None:
    payment = both.open()
    both.hear(both.pay(payment, amount=1_000))
    assert payment_now(both.database, payment.id).status is PaymentStatus.PENDING
    assert found(both.compare()) == {}
    both.run("UPDATE payments SET flagged_transactions = '[]'")
    assert found(both.compare()) == {Check.GATEWAY_UNPAID: [shown(payment)]}


@pytest.mark.parametrize("change", ["amount = amount + 1", "amount = amount - 1", "currency = 'USD'"])
def test_other_money_at_paystack_than_here(both: Both, change: LiteralString) -> None:
    payment = both.paid()
    both.run(f"UPDATE payments SET {change}")  # noqa: S608 - the table above
    assert found(both.compare()) == {Check.GATEWAY_MONEY: [shown(payment)]}


def test_a_second_success_is_told_unless_it_was_flagged(both: Both) -> None:
    payment = both.paid()
    both.open_transaction(reference_of(payment.id, 2))
    second = both.sandbox.control(f"transactions/{reference_of(payment.id, 2)}/pay", {})["transaction"]
    assert found(both.compare()) == {Check.GATEWAY_SECOND: [shown(payment)]}
    both.hear(second)
    assert found(both.compare()) == {}


def test_a_payment_that_is_paid_here_and_not_there(both: Both) -> None:
    unknown, abandoned, others = both.paid(), both.open(), both.paid()
    (opened,) = [row for row in both.sandbox.control("book")["transactions"] if row["reference"] == abandoned.reference]
    pay = "UPDATE payments SET status = 'SUCCESS', paid_at = created_at, gateway_transaction_id = %s WHERE id = %s"
    both.run(pay, 12345, unknown.id)
    both.run(pay, opened["id"], abandoned.id)
    report = both.compare()
    assert found(report) == {
        Check.GATEWAY_SECOND: [shown(unknown)],  # what it was paid by, and does not hold
        Check.GATEWAY_MISSING: [shown(unknown), shown(abandoned)],
    }
    details = report.findings[Check.GATEWAY_MISSING]
    assert details[shown(unknown)] == "Paystack knows no transaction 12345"
    assert "abandoned" in details[shown(abandoned)]
    assert shown(others) not in details


def test_a_payment_that_holds_anothers_transaction(both: Both) -> None:
    first, second = both.paid(), both.open()
    pay = "UPDATE payments SET status = 'SUCCESS', paid_at = created_at, gateway_transaction_id = %s WHERE id = %s"
    both.run(pay, first.gateway_transaction_id, second.id)
    # Its number was listed, under the other's reference: that two hold it is found in our own books.
    report = Report()
    check_books(both.database, WINDOW, report)
    assert set(report.findings[Check.TRANSACTION_SHARED]) == {shown(first), shown(second)}


def test_a_refund_made_in_paystacks_dashboard(both: Both) -> None:
    part, whole = both.paid(), both.paid()
    numbers = [both.refund_in_dashboard(part, 100_000), both.refund_in_dashboard(whole, PRICE)]
    for number in numbers:
        both.sandbox.control(f"refunds/{number}/settle", {"outcome": "processed"})
    assert found(both.compare()) == {
        Check.GATEWAY_MISSING: [shown(whole)],  # its money has left
        Check.GATEWAY_REFUND_UNKNOWN: [f"refund {number}" for number in reversed(numbers)],
    }


def test_a_refund_whose_answer_was_lost_is_known_by_its_note(both: Both) -> None:
    payment = both.paid()
    both.sandbox.control("faults", {"kind": "lost_answer", "endpoint": "refund", "times": 1})
    refund = both.refund(payment, 100_000, outcome=None)
    assert (refund.status, refund.gateway_refund_id) == (RefundStatus.PENDING, None)
    assert found(both.compare()) == {}
    both.run("UPDATE refunds SET status = 'FAILED'")
    assert found(both.compare()) == {Check.GATEWAY_REFUND_DIFFERS: [show(Prefix.REFUND, refund.id)]}


@pytest.mark.parametrize("answer", ["heard", "lost"])
def test_a_refund_made_twice(both: Both, answer: str) -> None:
    payment = both.paid()
    if answer == "lost":
        both.sandbox.control("faults", {"kind": "lost_answer", "endpoint": "refund", "times": 1})
    refund = both.refund(payment, 100_000, outcome=None)
    second = both.refund_in_dashboard(payment, 100_000, refund.note)
    first = refund.gateway_refund_id or min(row["id"] for row in both.sandbox.control("book")["refunds"])
    (subject,) = found(both.compare())[Check.GATEWAY_REFUND_UNKNOWN]
    assert subject == f"refund {second if answer == 'heard' else first}", "whichever was not met first"


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ("amount = amount + 1", Check.GATEWAY_REFUND_DIFFERS),
        ("currency = 'USD'", Check.GATEWAY_REFUND_DIFFERS),
        ("status = 'FAILED'", Check.GATEWAY_REFUND_DIFFERS),
    ],
)
def test_a_refund_that_is_another_here_than_there(both: Both, change: LiteralString, check: Check) -> None:
    refund = both.refund(both.paid(), 100_000)
    both.run(f"UPDATE refunds SET {change}")  # noqa: S608 - the table above
    assert found(both.compare()) == {check: [show(Prefix.REFUND, refund.id)]}


def test_a_refund_that_is_not_at_its_end_there(both: Both) -> None:
    refund = both.refund(both.paid(), 100_000, outcome=None)
    both.run("UPDATE refunds SET status = 'SUCCESS', processed_at = created_at")
    assert found(both.compare()) == {Check.GATEWAY_REFUND_DIFFERS: [show(Prefix.REFUND, refund.id)]}


def test_a_refund_under_way_here_may_be_over_there(both: Both) -> None:
    refund = both.refund(both.paid(), 100_000, outcome=None)
    both.settle(refund, "processed")
    assert found(both.compare()) == {}, "it is asked about again by itself"


def test_a_refund_that_paystack_does_not_know(both: Both) -> None:
    refund = both.refund(both.paid(), 100_000)
    both.run("UPDATE refunds SET gateway_refund_id = 12345")
    report = both.compare()
    assert report.findings[Check.GATEWAY_REFUND_MISSING] == {
        show(Prefix.REFUND, refund.id): "Paystack knows no refund 12345"
    }
    assert found(report)[Check.GATEWAY_REFUND_UNKNOWN] == [f"refund {refund.gateway_refund_id}"]


def test_lists_of_many_pages_are_read_to_their_end(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.paystack.client._PAGE", 1)
    monkeypatch.setattr("jobs.gateway_books._PAGE", 1)
    for _ in range(3):
        both.refund(both.paid(), PRICE)
    report = both.compare()
    assert (found(report), report.looked_at["gateway_transactions"], report.looked_at["gateway_refunds"]) == ({}, 3, 3)
    unpaid = both.open()
    both.pay(unpaid)
    both.run("UPDATE refunds SET gateway_refund_id = gateway_refund_id + 1000000")
    report = both.compare()
    counts = {check: len(subjects) for check, subjects in found(report).items()}
    # The notes still name them, with other numbers.
    expected = {Check.GATEWAY_UNPAID: 1, Check.GATEWAY_REFUND_UNKNOWN: 3, Check.GATEWAY_REFUND_MISSING: 3}
    assert counts == expected


@dataclass
class Changed(Paystack):
    """An account that does something of its own before a look at a single thing, or shows other lists."""

    real: Paystack
    before_look: Callable[[], object] = lambda: None
    lists: list[Any] | None = None

    def verify(self, reference: str) -> Any:
        self.before_look()
        return self.real.verify(reference)

    def fetch_transaction(self, transaction_id: int) -> Any:
        self.before_look()
        return self.real.fetch_transaction(transaction_id)

    def fetch_refund(self, gateway_refund_id: int) -> Any:
        self.before_look()
        return self.real.fetch_refund(gateway_refund_id)

    def list_transactions(self, **query: Any) -> Any:
        return self.real.list_transactions(**query) if self.lists is None else Done(self.lists)

    def list_refunds_made(self, **query: Any) -> Any:
        return self.real.list_refunds_made(**query) if self.lists is None else Done(self.lists)


def test_a_difference_that_is_gone_at_the_second_look_is_not_told(both: Both) -> None:
    payment = both.open()
    transaction = both.pay(payment)
    refund = both.refund(both.paid(), 100_000)
    both.run("UPDATE refunds SET status = 'FAILED'")
    looks: list[str] = []

    def catch_up() -> None:
        looks.append("look")
        if len(looks) == 1:
            both.hear(transaction)
        else:
            both.run("UPDATE refunds SET status = 'SUCCESS' WHERE id = %s", refund.id)

    assert found(both.compare(Changed(both.context.paystack, catch_up))) == {}
    assert len(looks) == 2


def test_lists_that_lag_are_not_believed_against_a_look(both: Both) -> None:
    both.refund(both.paid(), 100_000)
    looks: list[str] = []
    lagging = Changed(both.context.paystack, lambda: looks.append("look"), lists=[])
    assert found(both.compare(lagging)) == {}
    assert len(looks) == 2, "at the payment and at the refund"


def test_a_list_without_an_end_ends_the_comparison(both: Both) -> None:
    endless = Changed(both.context.paystack, lists=[ListedTransaction("shop-1", None)])
    with pytest.raises(UnavailableError, match="repeats itself"):
        both.compare(endless)


def test_a_row_of_ours_that_cannot_be_read_is_looked_at_by_itself(both: Both) -> None:
    payment = both.open()
    both.pay(payment)
    real, before = both.context.paystack, both.context.paystack.list_transactions

    def unreadable(**query: Any) -> Any:
        answer = before(**query)
        assert isinstance(answer, Done)
        return Done([ListedTransaction(row.reference, None) for row in answer.data])

    changed = Changed(real)
    changed.list_transactions = unreadable
    assert found(both.compare(changed)) == {Check.GATEWAY_UNPAID: [shown(payment)]}


@pytest.mark.parametrize("endpoint", ["list", "verify", "fetch", "refund_list", "refund_fetch"])
def test_a_look_is_patient_with_paystack(both: Both, endpoint: str) -> None:
    unpaid = both.open()
    both.pay(unpaid)
    refund = both.refund(both.paid(), 100_000)
    both.run("UPDATE refunds SET status = 'FAILED'")
    both.run("UPDATE payments SET gateway_transaction_id = 12345 WHERE id = %s", refund.payment_id)
    expected = found(both.compare())
    for kind in ("error", "rate_limited", "reset", "garbage"):
        both.sandbox.control("faults", {"kind": kind, "endpoint": endpoint, "times": 1})
    assert both.pauses == []
    assert found(both.compare()) == expected
    assert len(both.pauses) == 4


def test_a_paystack_that_does_not_answer_ends_the_comparison(both: Both) -> None:
    both.paid()
    both.sandbox.control("faults", {"kind": "error", "endpoint": "refund_list"})
    with pytest.raises(UnavailableError, match="asking Paystack: HTTP 500"):
        both.compare()
    assert both.pauses == [1.0, 2.0, 4.0, 8.0]
    with pytest.raises(UnavailableError, match="refuses the secret key"):
        both.compare(Paystack(Transport(both.sandbox.url, "sk_test_of_another_account")))
