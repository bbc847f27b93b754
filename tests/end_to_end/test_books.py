"""The look through the books beside a service at work: what is under way is no finding, however often one looks."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from db.connection import Database
from domain.books import Report, Window
from jobs.books import check_books
from jobs.gateway_books import compare_with_paystack
from tests.end_to_end.fleet import CARD, Fleet
from tests.settings import make_settings
from workers.roots import make_paystack

QUIET = timedelta(minutes=15)


def test_nothing_is_found_while_payments_and_refunds_flow(fleet: Fleet) -> None:
    fleet.control("settings", autopay={"card": CARD, "delay_ms": 0})
    ((ahead,),) = fleet.query("SELECT clock_offset FROM test_clock")  # of Paystack's clock

    def live(number: int) -> None:
        payment = fleet.post_payment(wait=20, orderId=f"busy_{number}").json()["data"]
        fleet.wait_for_payment(payment["paymentId"], "success")
        for amount in (100_000, 150_000):
            fleet.post(f"/payments/{payment['paymentId']}/refund", {"amount": amount}, wait=20)

    def look(database: Database) -> Report:
        report = Report()
        since = timedelta(days=1) + ahead
        check_books(database, Window(since=since, quiet=QUIET), report)
        paystack = make_paystack(make_settings(fleet.env), database)
        compare_with_paystack(database, paystack, Window(since=since, quiet=QUIET + ahead), report, pause=time.sleep)
        return report

    with Database(fleet.env["DATABASE_URL"], minimum=0, maximum=1, name="books") as database:
        with ThreadPoolExecutor(4) as clients:
            lives = [clients.submit(live, number) for number in range(20)]
            looks = [look(database)]
            while not all(one.done() for one in lives):
                looks.append(look(database))
        looks.append(look(database))
    for one in lives:
        one.result()
    for report in looks:
        assert {check: found for check, found in report.findings.items() if found} == {}
    paid = [report.looked_at["gateway_transactions"] for report in looks]
    assert paid[0] < paid[-2], "there was something to see in between"
    fleet.have_sound_books()
