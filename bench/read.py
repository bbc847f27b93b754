"""How fast a payment's state is read, beside the floor of one read by primary key on the same server."""

from functools import partial

from bench.client import Client
from bench.cpu import CpuMeter
from bench.ledger import Ledger
from bench.load import Outcome, closed_loop
from bench.measure import Effort, Leg, interleave
from bench.processes import Fleet
from bench.report import Report
from bench.services import Stage
from bench.traffic import payment_requests, plain_gets, read_requests
from domain.ids import Prefix, show
from ops.embedded.ports import free_port

_PAYMENTS = 2_000
_WARM_SECONDS = 1.0


async def measure(stage: Stage, fleet: Fleet, effort: Effort) -> Report:
    """GET /payments/{id} over a few thousand payments in turn."""
    report = Report(campaign="read", title="Reading: GET /payments/{id}")
    web, floor = fleet.start_web(), fleet.start_floor(free_port())
    size = effort.connections
    async with (
        Client(web, size) as web_client,
        Client(floor, size) as floor_client,
        Ledger(stage.database_url) as ledger,
    ):
        start = await ledger.newest()
        requests = payment_requests(stage)
        while len(ids := await ledger.payment_ids(start)) < _PAYMENTS:
            await closed_loop(web_client, requests, concurrency=size, seconds=1.0)
        shown = [show(Prefix.PAYMENT, payment_id) for payment_id in ids[:_PAYMENTS]]
        await ledger.analyze()
        loads = {
            "read": (web_client, read_requests(stage, shown)),
            "bare route + primary key": (floor_client, plain_gets([f"/floor/read/{name}" for name in shown])),
        }

        async def run(name: str, seconds: float) -> Outcome:
            client, gets = loads[name]
            outcome = await closed_loop(client, gets, concurrency=size, seconds=seconds)
            outcome.require(200)
            return outcome

        for name in loads:
            await run(name, _WARM_SECONDS)
        with CpuMeter(stage.database_url) as meter:
            legs = [Leg(name=name, run=partial(run, name, effort.seconds)) for name in loads]
            most = await interleave(legs, effort.rounds, meter, fleet)
    for name, leg in most.items():
        report.note(f"{name}, most", leg.outcome.rate, "/s")
    read, bare = most["read"], most["bare route + primary key"]
    report.note("read / (bare route + primary key)", read.outcome.rate / bare.outcome.rate, "")
    report.note("read, web process", read.cpu_per_answer("web"), "ms CPU")
    report.note("read, Postgres", read.cpu_per_answer("postgres"), "ms CPU")
    report.note("bare route + primary key, floor process", bare.cpu_per_answer("floor"), "ms CPU")
    report.note("bare route + primary key, Postgres", bare.cpu_per_answer("postgres"), "ms CPU")
    return report
