"""Whatever Paystack says, in whatever order, batches and repetitions: the tables agree with each other afterwards."""

from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.connection import Database
from domain.payment import PaymentStatus
from jobs.context import JobContext
from jobs.initialize import initialize_payments
from jobs.webhooks import apply_webhooks
from tests.stories import accept, event_body, job_ids, payment_now, rows, store_webhook, transaction_data

# Each of these finds rows that must not exist.
NEVER = {
    "a version that is not the number of its history": """
        SELECT p.id FROM payments p
        WHERE p.version <> (SELECT count(*) FROM payment_history h WHERE h.payment_id = p.id)
    """,
    "a gap in a history": """
        SELECT payment_id FROM payment_history GROUP BY payment_id HAVING max(version) <> count(*) OR min(version) <> 1
    """,
    "a status that is not the last of its history": """
        SELECT p.id FROM payments p JOIN payment_history h ON h.payment_id = p.id AND h.version = p.version
        WHERE h.status <> p.status
    """,
    "a change without its event, or an event without its change": """
        SELECT p.id FROM payments p
        WHERE (SELECT count(*) FROM events e WHERE e.subject = p.id) <> p.version - 1
    """,
    "a success that a later line takes back": """
        SELECT h.payment_id FROM payment_history h JOIN payment_history later USING (payment_id)
        WHERE h.status = 'SUCCESS' AND later.version > h.version AND later.status <> 'SUCCESS'
    """,
    "a paid payment whose answer names another amount": """
        SELECT id FROM payments WHERE status = 'SUCCESS' AND (gateway_response->>'amount')::bigint < amount
    """,
    "two successes of one payment": """
        SELECT subject FROM events WHERE type = 'payment.succeeded' GROUP BY subject HAVING count(*) > 1
    """,
    "a user with saved methods and no default": """
        SELECT user_id FROM payment_methods WHERE status = 'ACTIVE' GROUP BY user_id HAVING NOT bool_or(is_default)
    """,
    "one card saved twice": """
        SELECT user_id FROM payment_methods WHERE status = 'ACTIVE' GROUP BY user_id HAVING count(*) > 1
    """,
    "an event from Paystack without its verdict": "SELECT id FROM webhook_events WHERE verdict = 'received'",
    "a job left over": "SELECT id FROM jobs",
    "a call without its outcome": "SELECT job_id FROM payment_attempts WHERE outcome = 'unknown'",
}

NEWS = st.tuples(
    st.sampled_from(["charge.success", "charge.failed"]),
    st.integers(0, 1),
    st.fixed_dictionaries(
        {"id": st.integers(1, 3)},
        optional={
            "amount": st.sampled_from([1, 49_999, 50_000, 50_500]),
            "currency": st.sampled_from(["NGN", "USD", "XOF"]),
            "domain": st.sampled_from(["test", "live"]),
            "status": st.sampled_from(["success", "failed"]),
            "paid_at": st.none(),
        },
    ),
)
# An empty batch of news stands for a run of what is to be initialized.
STEPS = st.lists(st.just([]) | st.lists(NEWS, min_size=1, max_size=4), max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_the_books_agree(context: JobContext, steps: Sequence[Any]) -> None:
    database: Database = context.database
    two = [accept(database, save_payment_method=True), accept(database, save_payment_method=True)]
    good = False
    for step in [*steps, []]:
        if not step:
            initialize_payments(context, job_ids(database))
            continue
        for event, which, changes in step:
            data = transaction_data(two[which], **changes)
            store_webhook(database, event_body(event, data))
            fits = (data["amount"], data["currency"], data["domain"], data["status"])
            good |= event == "charge.success" and which == 0 and fits == (50_000, "NGN", "test", "success")
        apply_webhooks(context, job_ids(database, "apply_webhook"))
    for what, sql in NEVER.items():
        assert rows(database, sql.encode()) == [], what
    if good:
        assert payment_now(database, two[0].id).status is PaymentStatus.SUCCESS
