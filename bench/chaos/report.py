"""What a campaign found: as one JSON document, in words for a terminal, and kept in files."""

import json
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from bench.chaos.books import PAID
from bench.chaos.campaign import Campaign
from bench.chaos.judge import counts
from bench.chaos.page import render
from bench.chaos.plan import TITLES, Row
from bench.chaos.storm import Happening
from bench.chaos.watch import Sample

RESULTS = Path(__file__).parents[1] / "results" / "chaos"
_FINDINGS_MAX = 500
# What keeps the relay from its work: lags within and shortly after these say nothing about an idle transaction.
_KEEPS_RELAY = frozenset({Row.RELAY_KILLED, Row.BROKER_DOWN, Row.MEMORY_ALARM, Row.BROKER_EMPTIED, Row.POSTGRES_DOWN})
_AFTER_SECONDS = 10.0


def document(campaign: Campaign) -> dict[str, Any]:
    """Everything worth keeping of a campaign."""
    scale = campaign.scale
    return {
        "scale": scale.name,
        "seed": campaign.seed,
        "began": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(campaign.began)),
        "seconds": round(campaign.seconds),
        "machine": campaign.machine,
        "payments": scale.payments,
        "refunds": scale.refunds,
        "calmSeconds": scale.calm_seconds,
        "stormEnds": scale.end,
        "passed": campaign.passed,
        "verdict": counts(campaign.findings),
        "rows": [*_planned(campaign), *_at_paystack(campaign)],
        "money": _money(campaign),
        "answers": {str(status or "none"): count for status, count in sorted(campaign.told.statuses.items())},
        "figures": {name: round(value, 1) for name, value in campaign.figures.items()},
        "settled": {
            "seconds": None if campaign.settled.seconds is None else round(campaign.settled.seconds, 1),
            "waited": dict(campaign.settled.waited),
            "movedSeconds": campaign.settled.moved_seconds,
            "late": len(campaign.settled.late),
        },
        "restarts": campaign.restarts,
        "samples": {f.name: [_round(getattr(s, f.name)) for s in campaign.samples] for f in fields(Sample)},
        "happened": [_happening(one) for one in campaign.happened],
        "unsatisfied": campaign.unsatisfied,
        "findings": [asdict(finding) for finding in campaign.findings[:_FINDINGS_MAX]],
    }


def show(told: Mapping[str, Any]) -> str:
    """The document in words."""
    name = f"chaos {told['scale']}, seed {told['seed']}"
    lines = ["", name, "-" * len(name)]
    for row in sorted(told["rows"], key=lambda row: row["row"]):
        lines.append(f"{row['row']:>3}  {row['title']:<88}  {row['done']} of {row['wanted']}")
        lines += [f"       {figure}" for figure in (*row["figures"], *row["missed"])]
    settled = told["settled"]
    quiet = (
        f"quiet {settled['seconds']} s after the last fault" if settled["seconds"] else "not quiet within two minutes"
    )
    lines += ["", f"{quiet}; waited by rule: {settled['waited'] or 'nothing'}; took {told['seconds']} s"]
    lines += [f"{name}: {value:g}" for name, value in told["figures"].items()]
    lines += ["", "  ".join(f"{count} {gravity}" for gravity, count in told["verdict"].items())]
    lines += [f"  {f['gravity']}: {f['check']}: {f['subject']}: {f['what']}" for f in told["findings"][:40]]
    lines += [f"  waiting: {order}: {what}" for order, what in list(told["unsatisfied"].items())[:20]]
    return "\n".join([*lines, "PASSED" if told["passed"] else "FAILED"])


def write(campaign: Campaign, told: Mapping[str, Any]) -> Path:
    """Keep document, page, and the ledger of what clients were told; returns where the page is."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    stem = RESULTS / f"{campaign.scale.name}-{campaign.seed}"
    stem.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    campaign.told.write(stem.with_suffix(".told.jsonl"))
    page = stem.with_suffix(".html")
    page.write_text(render(told), encoding="utf-8")
    return page


def _planned(campaign: Campaign) -> list[dict[str, Any]]:
    """The rows of the matrix that a plan carries out, each with what was measured of it."""
    rows: list[dict[str, Any]] = []
    for row, wanted in campaign.scale.amounts.items():
        tried = [one for one in campaign.happened if one.fault.row is row]
        done = [one for one in tried if not one.missed]
        if not wanted:
            continue
        kinds = Counter(one.fault.what for one in done)
        ways = {one.fault.link for one in done} - {""}
        figures = [", ".join(f"{count} × {kind}" for kind, count in sorted(kinds.items()))] if len(kinds) > 1 else []
        figures += [f"on {len(ways)} ways: {', '.join(sorted(ways))}"] if ways else []
        figures += _figures(done)
        if row is Row.IDLE_TRANSACTION:
            figures += _lags(campaign, done)
        if row is Row.WORKER_KILLED:
            crowded = sum(one.figures["backlog"] > campaign.scale.backlog for one in done)
            figures.append(f"{crowded} of them with a backlog above {campaign.scale.backlog}")
        missed = Counter(one.missed for one in tried if one.missed)
        rows.append(
            {
                "row": row.value,
                "title": TITLES[row],
                "wanted": f"{wanted:,}",
                "done": f"{len(done):,}",
                "complete": len(done) == wanted,
                "figures": figures,
                "missed": [f"{count} not injected: {why}" for why, count in missed.items()],
            }
        )
    return rows


def _figures(done: Sequence[Happening]) -> list[str]:
    names = dict.fromkeys(name for one in done for name in one.figures)
    return [
        f"{name}: median {statistics.median(values):.4g}, largest {max(values):.4g}"
        for name in names
        if (values := [one.figures[name] for one in done if name in one.figures])
    ]


def _lags(campaign: Campaign, idle: Iterable[Happening]) -> list[str]:
    """How far the relay was behind while the transaction sat there, where nothing else kept it from its work."""
    kept = [
        (one.began, one.ended + _AFTER_SECONDS)
        for one in campaign.happened
        if one.fault.row in _KEEPS_RELAY or one.fault.link.startswith("relay") or one.fault.what.startswith("relay")
    ]
    lags = [
        sample.relay_lag
        for one in idle
        for sample in campaign.samples
        if sample.relay_lag is not None
        and one.began <= sample.at <= one.ended
        and not any(begin <= sample.at <= end for begin, end in kept)
    ]
    if not lags:
        return ["the relay's lag could not be told from other faults"]
    worst = sorted(lags)[int(0.99 * (len(lags) - 1))]
    return [f"the relay's lag meanwhile, while it was let alone: p99 {worst:.2f} s of {len(lags)} looks"]


def _at_paystack(campaign: Campaign) -> list[dict[str, Any]]:
    """The rows that are true of every call, and of every webhook."""
    calls = max(1, campaign.struck.get("calls", 0))
    lost = {kind: count for kind, count in campaign.struck.items() if kind.startswith("lost")}
    sick = {kind: count for kind, count in campaign.struck.items() if kind not in {*lost, "calls"}}
    figures = campaign.figures
    return [
        _shares(Row.ANSWER_LOST, "10 % of calls", lost, calls),
        _shares(Row.PAYSTACK_SICK, "5 % of calls each", sick, calls),
        {
            "row": Row.WEBHOOKS_ODD.value,
            "title": TITLES[Row.WEBHOOKS_ODD],
            "wanted": "all",
            "done": f"{figures['webhooks delivered by Paystack']:,.0f} deliveries",
            "complete": True,
            "figures": [
                f"{figures['payments paid before their opening was known']:g} paid before their opening was known",
                f"{figures['forged webhooks']:g} forged, each refused",
                f"{figures['payments paid with other money']:g} payments told of other money than asked, each flagged",
            ],
            "missed": [],
        },
    ]


def _shares(row: Row, wanted: str, struck: Mapping[str, int], calls: int) -> dict[str, Any]:
    total = sum(struck.values())
    return {
        "row": row.value,
        "title": TITLES[row],
        "wanted": wanted,
        "done": f"{total:,} of {calls:,} calls ({total / calls:.1%})",
        "complete": total > 0,
        "figures": [f"{kind}: {count:,} ({count / calls:.1%})" for kind, count in sorted(struck.items())],
        "missed": [],
    }


def _money(campaign: Campaign) -> list[dict[str, Any]]:
    """What came in and went back, by both books, in subunits."""
    assert campaign.ours is not None
    assert campaign.theirs is not None
    sums: dict[str, Counter[str]] = {}
    for payment in campaign.ours.payments.values():
        of = sums.setdefault(payment.currency, Counter())
        of["payments"] += 1
        of["received, ours"] += payment.amount if payment.status in PAID else 0
        of["returned, ours"] += payment.refunded
    for paid in campaign.theirs.transactions.values():
        # What was paid with other money is flagged, and counts as nothing.
        fits = paid.paid and paid.amount == paid.asked
        sums.setdefault(paid.currency, Counter())["received, Paystack's"] += paid.amount if fits else 0
    for refund in campaign.theirs.refunds:
        currency = campaign.theirs.transactions[refund.transaction_id].currency
        back = refund.amount if refund.status == "processed" else 0
        sums.setdefault(currency, Counter())["returned, Paystack's"] += back
    return [{"currency": currency, **of} for currency, of in sorted(sums.items())]


def _happening(one: Happening) -> dict[str, Any]:
    fault = one.fault
    return {
        "row": fault.row.value,
        "what": f"{fault.link} {fault.what}".strip(),
        "began": round(one.began, 1),
        "ended": round(one.ended, 1),
        "missed": one.missed,
        "figures": {name: round(value, 2) for name, value in one.figures.items()},
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
