"""The campaign's judge is sabotaged: whatever is done to one of the books behind its back, it notices."""

import gc
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from bench.chaos.books import Leftover, read_ours, read_theirs
from bench.chaos.judge import CHECKS, Evidence, Finding, Gravity, counts, judge
from bench.chaos.told import Answer, Request, Told
from db import events, idempotency
from db.connection import Database
from domain.ids import Prefix, show
from domain.payment import Payment, PaymentStatus
from jobs.calls import GatewayThreads
from jobs.context import JobContext
from jobs.initialize import initialize_payments
from jobs.paystack.client import Paystack
from jobs.paystack.transport import Transport
from jobs.refund_checks import check_refunds
from jobs.refunds import send_refunds
from jobs.webhooks import apply_webhooks
from sandbox.harness import RunningSandbox, running_sandbox
from sandbox.world import Options
from tests.refunding import ask_refund, pass_time, refund_now
from tests.stories import SECRET_KEY, accept, event_body, job_ids, payment_now, rows, seal, store_webhook

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

PRICE = 500_000


@dataclass
class Scene:
    """A small campaign that went well: one payment paid, one given back, one paid with other money, one not paid."""

    database: Database
    url: str
    context: JobContext
    sandbox: RunningSandbox
    told: Told = field(default_factory=Told)
    late: list[Leftover] = field(default_factory=list)
    by_itself: list[tuple[str, str, str]] = field(default_factory=list)
    dead_letters: int = 0
    deaf_to: set[str] = field(default_factory=set)

    def play(self) -> None:
        self.paid, self.returned, self.odd, self.unpaid = [self.order(f"order-{n}") for n in "abcd"]
        initialize_payments(self.context, job_ids(self.database))
        for payment, changes in ((self.paid, {}), (self.returned, {}), (self.odd, {"amount": PRICE - 1})):
            self.pay(payment.reference, **changes)
        self.give_back()
        with self.database.connection() as connection:
            told = events.lease_events(connection, limit=1000, lease_seconds=1)
            events.mark_published(connection, [event.id for event in told])

    def order(self, order_id: str) -> Payment:
        payment = accept(self.database, amount=PRICE, order_id=order_id, key=f"key-{order_id}")
        self.tell("payment", f"key-{order_id}", order_id, PRICE, show(Prefix.PAYMENT, payment.id)).show("pending")
        return payment

    def pay(self, reference: str, **changes: Any) -> None:
        transaction = self.sandbox.control(f"transactions/{reference}/pay", changes)["transaction"]
        store_webhook(self.database, event_body("charge.success", transaction))
        apply_webhooks(self.context, job_ids(self.database, "apply_webhook"))

    def give_back(self) -> None:
        refund = ask_refund(self.database, payment_now(self.database, self.returned.id), 200_000)
        with self.database.connection() as connection:
            idempotency.claim_idempotency_key(
                connection, caller="shop", key="key-refund", fingerprint=b"", refund_id=refund.id
            )
        payment_id = show(Prefix.PAYMENT, self.returned.id)
        self.tell("refund", "key-refund", payment_id, 200_000, show(Prefix.REFUND, refund.id))
        send_refunds(self.context, job_ids(self.database, "send_refund"))
        self.sandbox.control("clock", {"advance_seconds": 60})
        pass_time(self.database, 7 * 3600)
        check_refunds(self.context, job_ids(self.database, "check_refund"))
        self.refund = refund_now(self.database, refund.id)

    def tell(self, kind: str, key: str, subject: str, amount: int, told: str) -> Request:
        request = Request(kind=kind, key=key, subject=subject, amount=amount, currency="NGN")
        request.answers.append(Answer(0.0, 0.01, 202, told))
        self.told.requests.append(request)
        return request

    def sql(self, statement: Any, *parameters: Any) -> None:
        rows(self.database, statement, *parameters)

    def judge(self) -> list[Finding]:
        ours = read_ours(self.url)
        heard = frozenset(ours.events) - self.deaf_to
        theirs = read_theirs(self.sandbox.control("book"))
        return judge(
            Evidence(
                told=self.told,
                ours=ours,
                theirs=theirs,
                heard=heard,
                late=self.late,
                by_itself=self.by_itself,
                dead_letters=self.dead_letters,
            )
        )


@pytest.fixture
def scene(database: Database, migrated_url: str) -> Generator[Scene]:
    with running_sandbox(Options(seed=7, secret_key=SECRET_KEY)) as sandbox:
        sandbox.control("clock", {"freeze": True})
        gateway = GatewayThreads(4)
        context = JobContext(
            database=database,
            seal=seal(),
            paystack=Paystack(Transport(sandbox.url, SECRET_KEY)),
            gateway=gateway,
            callback_url=None,
            live=False,
            resend_refunds=True,
            refund_duplicates=False,
        )
        scene = Scene(database, migrated_url, context, sandbox)
        scene.play()
        yield scene
        gateway.close()
    gc.collect()


def test_a_campaign_that_went_well_is_green(scene: Scene) -> None:
    assert scene.judge() == []
    assert payment_now(scene.database, scene.returned.id).status is PaymentStatus.PARTIALLY_REFUNDED
    assert payment_now(scene.database, scene.odd.id).review_reason == "amount_mismatch"


# Sabotage: something is done to a book or said to a client behind the fleet's back.


def delete_a_payment(scene: Scene) -> None:
    scene.sql("DELETE FROM payments WHERE id = %s", scene.paid.id)


def delete_a_refund(scene: Scene) -> None:
    scene.sql("DELETE FROM refunds WHERE id = %s", scene.refund.id)


def store_another_amount(scene: Scene) -> None:
    scene.sql("UPDATE payments SET amount = amount + 1 WHERE id = %s", scene.unpaid.id)


def lose_a_key(scene: Scene) -> None:
    scene.sql("DELETE FROM idempotency_keys WHERE key = 'key-order-d'")


def answer_one_key_with_two_payments(scene: Scene) -> None:
    scene.told.requests[0].answers.append(Answer(1.0, 0.01, 202, show(Prefix.PAYMENT, scene.unpaid.id)))


def accept_a_request_twice(scene: Scene) -> None:
    scene.sql("DELETE FROM live_orders")
    accept(scene.database, amount=PRICE, order_id="order-d")
    initialize_payments(scene.context, job_ids(scene.database))


def accept_what_nobody_asked_for(scene: Scene) -> None:
    accept(scene.database, amount=PRICE)
    initialize_payments(scene.context, job_ids(scene.database))


def make_a_refund_nobody_asked_for(scene: Scene) -> None:
    ask_refund(scene.database, payment_now(scene.database, scene.returned.id), 100_000)
    send_refunds(scene.context, job_ids(scene.database, "send_refund"))


def take_a_success_back(scene: Scene) -> None:
    scene.told.requests[0].show("success")
    scene.sql("UPDATE payments SET status = 'PENDING' WHERE id = %s", scene.paid.id)


def show_a_success_and_then_not(scene: Scene) -> None:
    for status in ("success", "pending"):
        scene.told.requests[0].show(status)


def answer_with_a_defect(scene: Scene) -> None:
    scene.told.requests[0].answers.append(Answer(1.0, 0.01, 500, code="INTERNAL_ERROR"))


def believe_a_forged_webhook(scene: Scene) -> None:
    scene.told.forged.append(Answer(1.0, 0.01, 200))


def never_answer(scene: Scene) -> None:
    scene.told.requests.append(Request(kind="payment", key="k", subject="order-e", amount=1, currency="NGN"))


def lose_a_webhook(scene: Scene) -> None:
    scene.sandbox.control(f"transactions/{scene.unpaid.reference}/pay", {})


def charge_again_under_another_reference(scene: Scene) -> None:
    again = Paystack(Transport(scene.sandbox.url, SECRET_KEY))
    scene.sql("UPDATE payments SET reference_sequence = 2 WHERE id = %s", scene.paid.id)
    scene.context = replace(scene.context, paystack=again)
    reference = f"{scene.paid.reference}.2"
    body = {"email": "ada@example.com", "amount": PRICE, "currency": "NGN", "reference": reference}
    again_answer = Transport(scene.sandbox.url, SECRET_KEY).exchange("POST", "/transaction/initialize", body)
    assert getattr(again_answer, "status", None) == 200
    scene.sandbox.control(f"transactions/{reference}/pay", {})


def invent_a_success(scene: Scene) -> None:
    scene.sql(
        "UPDATE payments SET status = 'SUCCESS', paid_at = now(), gateway_transaction_id = 1 WHERE id = %s",
        scene.unpaid.id,
    )


def believe_the_wrong_amount(scene: Scene) -> None:
    (number,) = [t["id"] for t in scene.sandbox.control("book")["transactions"] if t["amount"] == PRICE - 1]
    scene.sql(
        "UPDATE payments SET status = 'SUCCESS', paid_at = now(), gateway_transaction_id = %s WHERE id = %s",
        number,
        scene.odd.id,
    )


def forget_a_flag(scene: Scene) -> None:
    scene.sql("UPDATE payments SET review_reason = NULL WHERE id = %s", scene.odd.id)


def refund_again_in_the_sandbox(scene: Scene) -> None:
    body = {
        "transaction": scene.refund.gateway_transaction_id,
        "amount": 100_000,
        "merchant_note": scene.refund.note,
    }
    answer = Transport(scene.sandbox.url, SECRET_KEY).exchange("POST", "/refund", body)
    assert getattr(answer, "status", None) == 200


def refund_by_hand_in_the_sandbox(scene: Scene) -> None:
    body = {"transaction": scene.refund.gateway_transaction_id, "amount": 100_000, "merchant_note": "by hand"}
    answer = Transport(scene.sandbox.url, SECRET_KEY).exchange("POST", "/refund", body)
    assert getattr(answer, "status", None) == 200


def call_a_refund_failed(scene: Scene) -> None:
    scene.sql("UPDATE refunds SET status = 'FAILED' WHERE id = %s", scene.refund.id)


def give_back_another_amount(scene: Scene) -> None:
    scene.sql("UPDATE refunds SET amount = amount - 1 WHERE id = %s", scene.refund.id)
    scene.told.requests[-1].amount -= 1


def count_the_money_wrong(scene: Scene) -> None:
    scene.sql("UPDATE payments SET refunded = refunded - 1 WHERE id = %s", scene.returned.id)


def cut_a_history(scene: Scene) -> None:
    scene.sql("DELETE FROM payment_history WHERE payment_id = %s AND version = 2", scene.paid.id)


def miss_an_event(scene: Scene) -> None:
    ((event_id,),) = rows(scene.database, "SELECT id FROM events LIMIT 1")
    scene.deaf_to.add(show(Prefix.EVENT, event_id))


def drop_the_job_of_a_payment(scene: Scene) -> None:
    payment = scene.order("order-e")
    scene.sql("DELETE FROM jobs WHERE id = %s", payment.id)


def drop_the_job_of_a_refund(scene: Scene) -> None:
    payment = payment_now(scene.database, scene.paid.id)
    refund = ask_refund(scene.database, payment, 100_000)
    scene.tell("refund", "key", show(Prefix.PAYMENT, payment.id), 100_000, show(Prefix.REFUND, refund.id))
    scene.sql("DELETE FROM jobs")


def drop_the_job_of_a_webhook(scene: Scene) -> None:
    store_webhook(scene.database, event_body("charge.success", {}))
    scene.sql("DELETE FROM jobs")


def leave_a_job_behind(scene: Scene) -> None:
    store_webhook(scene.database, event_body("charge.success", {}))


def bury_a_job(scene: Scene) -> None:
    store_webhook(scene.database, event_body("charge.success", {}))
    scene.sql("UPDATE jobs SET state = 'dead'")


def leave_an_event_unpublished(scene: Scene) -> None:
    scene.sql("UPDATE events SET published_at = NULL")


def leave_a_call_unknown(scene: Scene) -> None:
    scene.sql("UPDATE payment_attempts SET outcome = 'unknown'")


def deliver_no_copy_of_a_webhook(scene: Scene) -> None:
    # Nobody listens there.
    scene.sandbox.control("settings", {"webhook_url": "http://127.0.0.1:1/"})
    scene.sandbox.control("webhooks", {"event": "charge.success", "data": {}})


def leave_a_dead_letter(scene: Scene) -> None:
    scene.dead_letters = 1


def hear_of_a_finding(scene: Scene) -> None:
    scene.by_itself.append(("history_gap", "pay_1", "2 of 3"))


def wait_for_nothing(scene: Scene) -> None:
    scene.late.append(Leftover(what="payment", subject="pay_1", state="PROCESSING", next_at=None, reason=None))


LOST, CHARGED, REFUNDED, STUCK, WRONG = Gravity
SABOTAGE: list[tuple[Callable[[Scene], None], str, Gravity]] = [
    (delete_a_payment, "what was promised is stored", LOST),
    (delete_a_payment, "money that came is known", LOST),
    (delete_a_payment, "the book contradicts itself nowhere", WRONG),
    (delete_a_refund, "what was promised is stored", LOST),
    (delete_a_refund, "refunds agree", LOST),
    (store_another_amount, "what was promised is stored", WRONG),
    (lose_a_key, "what was promised is stored", WRONG),
    (answer_one_key_with_two_payments, "one key names one thing", WRONG),
    (accept_a_request_twice, "one intention made one thing", CHARGED),
    (accept_what_nobody_asked_for, "one intention made one thing", WRONG),
    (make_a_refund_nobody_asked_for, "one intention made one thing", REFUNDED),
    (take_a_success_back, "what was shown stays true", LOST),
    (show_a_success_and_then_not, "what was shown stays true", WRONG),
    (answer_with_a_defect, "answers fit", WRONG),
    (believe_a_forged_webhook, "answers fit", WRONG),
    (never_answer, "every request was answered", STUCK),
    (lose_a_webhook, "money that came is known", LOST),
    (charge_again_under_another_reference, "nobody is charged twice", CHARGED),
    (invent_a_success, "what counts as paid was paid", WRONG),
    (believe_the_wrong_amount, "what counts as paid was paid", WRONG),
    (forget_a_flag, "odd money is flagged", WRONG),
    (refund_again_in_the_sandbox, "nobody is refunded twice", REFUNDED),
    (refund_by_hand_in_the_sandbox, "refunds agree", LOST),
    (call_a_refund_failed, "refunds agree", WRONG),
    (give_back_another_amount, "refunds agree", WRONG),
    (count_the_money_wrong, "what was given back adds up", WRONG),
    (cut_a_history, "the book contradicts itself nowhere", WRONG),
    (miss_an_event, "events arrived", LOST),
    (drop_the_job_of_a_payment, "nothing is left over", STUCK),
    (drop_the_job_of_a_refund, "nothing is left over", STUCK),
    (drop_the_job_of_a_webhook, "nothing is left over", STUCK),
    (leave_a_job_behind, "nothing is left over", STUCK),
    (bury_a_job, "nothing is left over", STUCK),
    (leave_an_event_unpublished, "nothing is left over", STUCK),
    (leave_a_call_unknown, "nothing is left over", STUCK),
    (deliver_no_copy_of_a_webhook, "nothing is left over", STUCK),
    (leave_a_dead_letter, "nothing is left over", STUCK),
    (hear_of_a_finding, "payfleet finds nothing either", WRONG),
    (wait_for_nothing, "nothing waits for nothing", STUCK),
]


@pytest.mark.parametrize(("sabotage", "check", "gravity"), SABOTAGE)
def test_sabotage_is_noticed(scene: Scene, sabotage: Callable[[Scene], None], check: str, gravity: Gravity) -> None:
    sabotage(scene)
    findings = scene.judge()
    assert (check, gravity) in {(finding.check, finding.gravity) for finding in findings}
    assert counts(findings)[gravity] > 0


def test_every_check_is_sabotaged() -> None:
    names = {check.__name__.replace("_", " ") for check in CHECKS}
    assert names == {check for _, check, _ in SABOTAGE}
