"""What a campaign found, for a terminal and as JSON."""

import json
from pathlib import Path

from bench.chaos.campaign import Campaign
from bench.chaos.judge import counts
from bench.chaos.storm import summary

RESULTS = Path(__file__).parents[1] / "results" / "chaos"


def show(campaign: Campaign) -> str:
    """The report in words."""
    lines = [f"\nchaos {campaign.scale.name}, seed {campaign.seed}: {'PASSED' if campaign.passed else 'FAILED'}"]
    for row, title, wanted, done, why in summary(campaign.scale, campaign.happened):
        lines.append(f"  {row.value:2}  {title:<90} {done:4} of {wanted:4}  {'; '.join(why)}")
    lines.append(f"  Paystack: {campaign.struck}")
    lines.append(f"  answers: {dict(campaign.told.statuses)}")
    lines += [f"  {name}: {value:g}" for name, value in campaign.figures.items()]
    settled = campaign.settled
    lines.append(f"  quiet after: {settled.seconds}; waited by rule: {dict(settled.waited)}")
    lines.append(f"  clocks moved {settled.moved_seconds} s")
    lines.append(f"  restarts: {campaign.restarts}; took {campaign.seconds:.0f} s")
    lines.append(f"  unsatisfied: {list(campaign.unsatisfied.items())[:5]}")
    lines.append(f"  verdict: {counts(campaign.findings)}")
    lines += [f"    {f.gravity}: {f.check}: {f.subject}: {f.what}" for f in campaign.findings[:40]]
    return "\n".join(lines)


def write(campaign: Campaign) -> Path:
    """Keep the report, and the ledger of what clients were told beside it."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{campaign.scale.name}-{campaign.seed}.json"
    path.write_text(
        json.dumps({"seed": campaign.seed, "verdict": counts(campaign.findings)}, indent=1), encoding="utf-8"
    )
    campaign.told.write(path.with_suffix(".told.jsonl"))
    return path
