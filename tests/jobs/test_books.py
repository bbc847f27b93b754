"""Whatever Paystack says, in whatever order, batches and repetitions: the tables agree with each other afterwards."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.connection import Database
from domain.books import Check, Report, Window
from domain.payment import PaymentStatus
from jobs.books import check_books
from jobs.context import JobContext
from jobs.initialize import initialize_payments
from jobs.webhooks import apply_webhooks
from tests.stories import accept, event_body, job_ids, payment_now, rows, store_webhook, transaction_data

# Each of these finds rows that must not be there beside what `check_books` looks for.
NEVER = {
    "a user with saved methods and no default": """
        SELECT user_id FROM payment_methods WHERE status = 'ACTIVE' GROUP BY user_id HAVING NOT bool_or(is_default)
    """,
    "one card saved twice": """
        SELECT user_id FROM payment_methods WHERE status = 'ACTIVE' GROUP BY user_id HAVING count(*) > 1
    """,
    "a job left over": "SELECT id FROM jobs",
    "a call without its outcome": "SELECT job_id FROM payment_attempts WHERE outcome = 'unknown'",
}

NEWS = st.tuples(
    st.sampled_from(["charge.success", "charge.failed"]),
    st.integers(0, 1),
    st.integers(1, 3),
    st.fixed_dictionaries(
        {},
        optional={
            "amount": st.sampled_from([1, 49_999, 50_000, 50_500]),
            "currency": st.sampled_from(["NGN", "USD", "XOF"]),
            "domain": st.sampled_from(["test", "live"]),
            "status": st.sampled_from(["success", "failed"]),
            "paid_at": st.none(),
        },
    ),
)
NUMBERS = count(start=1_000, step=10)
# An empty batch of news stands for a run of what is to be initialized.
STEPS = st.lists(st.just([]) | st.lists(NEWS, min_size=1, max_size=4), max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_the_books_agree(context: JobContext, steps: Sequence[Any]) -> None:
    database: Database = context.database
    two = [accept(database, save_payment_method=True), accept(database, save_payment_method=True)]
    numbers = [next(NUMBERS), next(NUMBERS)]  # at Paystack, each transaction has one of its own
    good = False
    for step in [*steps, []]:
        if not step:
            initialize_payments(context, job_ids(database))
            continue
        for event, which, number, changes in step:
            data = transaction_data(two[which], **changes, id=numbers[which] + number)
            store_webhook(database, event_body(event, data))
            fits = (data["amount"], data["currency"], data["domain"], data["status"])
            good |= event == "charge.success" and which == 0 and fits == (50_000, "NGN", "test", "success")
        apply_webhooks(context, job_ids(database, "apply_webhook"))
    report = Report()
    check_books(database, Window(since=timedelta(days=1), quiet=timedelta(0)), report)
    found = {check: findings for check, findings in report.findings.items() if findings}
    found.pop(Check.EVENT_UNPUBLISHED, None)  # no relay runs here
    assert found == {}
    for what, sql in NEVER.items():
        assert rows(database, sql.encode()) == [], what
    if good:
        assert payment_now(database, two[0].id).status is PaymentStatus.SUCCESS
