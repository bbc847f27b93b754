"""`payfleet check-books`: holds the books against what must be true of them, for a person and for a monitor."""

from __future__ import annotations

import re
import sys
import time
import traceback
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from domain.books import FINDINGS_MAX, RULES, Report, Window
from domain.errors import PayfleetError
from domain.quotas import Lane
from domain.settings import load
from ops.logs import configure_logs

if TYPE_CHECKING:
    from domain.settings import Settings

NOTHING_FOUND, FOUND, NOT_CHECKED = 0, 1, 2
_EXAMPLES = 10
_AGE = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def check_books(
    *,
    since: Annotated[str, typer.Option(help="How far back to look: 90m, 36h, 7d.")] = "7d",
    quiet_minutes: Annotated[int, typer.Option(help="How long anything may wait without being found.", min=0)] = 15,
    with_paystack: Annotated[bool, typer.Option("--with-paystack", help="Compare with Paystack's own lists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Look through the books for what must not be: 0 nothing was found, 1 something was, 2 it could not be checked."""
    window = Window(since=_age(since), quiet=timedelta(minutes=quiet_minutes))
    try:
        settings = load()
        configure_logs("warning")
        report = _look(settings, window, with_paystack=with_paystack)
    except PayfleetError as error:
        print(f"payfleet: the books could not be checked: {error}", file=sys.stderr)
        raise typer.Exit(NOT_CHECKED) from None
    except Exception:  # noqa: BLE001 - a defect of ours must not look like a finding
        traceback.print_exc()
        raise typer.Exit(NOT_CHECKED) from None
    print(_as_json(report) if as_json else _as_text(report))
    raise typer.Exit(NOTHING_FOUND if report.is_clean else FOUND)


def _look(settings: Settings, window: Window, *, with_paystack: bool) -> Report:
    from domain.books import Report
    from jobs.books import check_books
    from jobs.gateway_books import compare_with_paystack
    from workers.roots import make_database, make_paystack

    report = Report()
    with make_database(settings, "check-books") as database:
        check_books(database, window, report)
        if with_paystack:
            compare_with_paystack(
                database, make_paystack(settings, database).on(Lane.RECONCILIATION), window, report, pause=time.sleep
            )
    return report


def _age(text: str) -> timedelta:
    match = _AGE.fullmatch(text)
    if match is None:
        raise typer.BadParameter("say a number of minutes, hours or days, such as 90m, 36h or 7d", param_hint="--since")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _as_json(report: Report) -> str:
    checks: list[dict[str, Any]] = [
        {
            "name": check,
            "meaning": RULES[check].meaning,
            "remedy": RULES[check].remedy,
            "count": len(found),
            "isExact": len(found) < FINDINGS_MAX,
            "examples": [{"id": subject, "detail": detail} for subject, detail in list(found.items())[:_EXAMPLES]],
        }
        for check, found in report.findings.items()
    ]
    document = {"isClean": report.is_clean, "lookedAt": report.looked_at, "checks": checks}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


def _as_text(report: Report) -> str:
    looked_at = ", ".join(f"{number:,} {what.replace('_', ' ')}" for what, number in report.looked_at.items())
    lines = [f"Looked at {looked_at}."]
    for check, found in report.findings.items():
        if not found:
            continue
        many = f"{len(found)}{' or more' if len(found) == FINDINGS_MAX else ''}"
        lines += ["", f"{check}: {many}", f"  {RULES[check].meaning}", f"  {RULES[check].remedy}"]
        lines += [f"    {subject}  {detail}" for subject, detail in list(found.items())[:_EXAMPLES]]
    clean = [str(check) for check, found in report.findings.items() if not found]
    lines += ["", f"Nothing found by {', '.join(clean)}."] if clean else []
    return "\n".join(lines)
