"""The campaign's report: what waits for nothing is told from what waits, and the page needs nothing else."""

import re
from datetime import UTC, datetime
from typing import Any

from bench.chaos.books import Leftover, Ours, Theirs
from bench.chaos.campaign import Campaign
from bench.chaos.judge import Finding, Gravity
from bench.chaos.page import render
from bench.chaos.plan import QUICK, Fault, Row
from bench.chaos.quiet import unforeseen
from bench.chaos.report import document, show
from bench.chaos.storm import Happening
from bench.chaos.watch import Sample

SOON = datetime(2026, 1, 1, tzinfo=UTC)


def left(what: str, subject: str, *, next_at: datetime | None = None) -> Leftover:
    return Leftover(what=what, subject=subject, state="", next_at=next_at, reason=None)


def test_what_a_waiting_job_is_about_is_not_stuck_and_a_dead_job_is() -> None:
    waiting = left("job", "send_refund p1 r1", next_at=SOON)
    dead = left("job", "check_refund p2 r2")
    found = unforeseen([waiting, dead, left("refund", "r1"), left("refund", "r2"), left("payment", "p3")])
    assert [one.subject for one in found] == ["check_refund p2 r2", "r2", "p3"]


def campaign(*findings: Finding) -> Campaign:
    fault = Fault(row=Row.BROKER_DOWN, lane="broker", what="killed", at=1.0)
    missed = Happening(fault=fault, began=2.0, ended=3.0, missed="no <time>")
    figures = ("forged webhooks", "payments paid before their opening was known", "payments paid with other money")
    return Campaign(
        seed=5,
        scale=QUICK,
        machine={"postgres": "18", "rabbitmq": "3", "cores": 2, "python": "3.11", "clock steps": "yes"},
        happened=[Happening(fault=fault, began=1.0, ended=2.0, figures={"at work after, s": 1.5}), missed],
        struck={"status 429": 3, "lost: reset": 4, "calls": 100},
        samples=[sample(at, backlog) for at, backlog in ((0.0, 1), (1.0, None), (2.0, 30), (9.0, 4), (10.0, 2))],
        figures={"webhooks delivered by Paystack": 9.0} | dict.fromkeys(figures, 1.0),
        ours=Ours(payments={}, refunds={}, keys={}, events={}, leftovers=[], broken=[]),
        theirs=Theirs(transactions={}, refunds=[], undelivered=0),
        findings=list(findings),
    )


def sample(at: float, backlog: int | None) -> Sample:
    counts: dict[str, Any] = dict.fromkeys(("accepted", "paid", "refunded", "unsatisfied"), int(at))
    return Sample(at=at, backlog=backlog, jobs=backlog, relay_lag=0.1, **counts)


def test_the_page_shows_the_verdict_and_loads_nothing() -> None:
    page = render(document(campaign()))
    assert ">passed<" in page
    assert "1 not injected: no &lt;time&gt;" in page
    assert page.count("<svg") == 3
    assert not re.search(r"""(src|href)=|@import|url\(""", page)


def test_a_finding_makes_the_report_red_and_is_told() -> None:
    told = document(campaign(Finding(Gravity.LOST, "what was promised is stored", "pay_1", "it is not there")))
    assert not told["passed"]
    assert told["verdict"]["lost"] == 1
    assert show(told).splitlines()[-1] == "FAILED"
    assert "pay_1" in show(told)
    assert ">failed<" in render(told)
