"""How fast payments are accepted, and how far that is from the least it could cost.

The floors run beside it in short rounds: the same server with a route that answers a constant, and with a route that
runs the same SQL statement and nothing else. The distance to the second is what the edge itself costs: the token, the
strict body, sealing the address, the envelope.
"""

from functools import partial

from bench.client import Client
from bench.cpu import CpuMeter
from bench.load import Outcome, closed_loop, open_loop
from bench.measure import Effort, Leg, interleave
from bench.processes import Fleet
from bench.report import Report
from bench.services import Stage
from bench.traffic import payment_requests, plain_posts
from ops.embedded.ports import free_port

RATIO_MIN = 0.7
_TOKENS = 4096  # more than a web process remembers
_WARM_SECONDS = 1.0
_OPEN_SHARE = 0.5  # of the most that was sustained


async def measure(stage: Stage, fleet: Fleet, effort: Effort) -> Report:
    """Accept with one token, accept with a token each, and the two floors."""
    report = Report(campaign="accept", title="Accepting: POST /payments")
    web, floor = fleet.start_web(), fleet.start_floor(free_port())
    size = effort.connections
    with CpuMeter(stage.database_url) as meter:
        async with Client(web, size) as web_client, Client(floor, size) as floor_client:
            loads = {
                "accept": (web_client, payment_requests(stage), 202),
                "accept, a token each": (web_client, payment_requests(stage, tokens=_TOKENS), 202),
                "bare route": (floor_client, plain_posts("/floor/bare"), 200),
                "bare route + SQL": (floor_client, plain_posts("/floor/accept"), 202),
            }

            async def closed(name: str, seconds: float) -> Outcome:
                client, requests, status = loads[name]
                outcome = await closed_loop(client, requests, concurrency=size, seconds=seconds)
                outcome.require(status)
                return outcome

            async def opened(name: str, rate: float) -> Outcome:
                client, requests, status = loads[name]
                outcome = await open_loop(client, requests, rate=rate, seconds=effort.seconds)
                outcome.require(status)
                return outcome

            for name in loads:
                await closed(name, _WARM_SECONDS)
            legs = [Leg(name=name, run=partial(closed, name, effort.seconds)) for name in loads]
            most = await interleave(legs, effort.rounds, meter, fleet)
            rate = round(most["accept"].outcome.rate * _OPEN_SHARE, -1)
            legs = [Leg(name=name, run=partial(opened, name, rate)) for name in loads]
            steady = await interleave(legs, effort.rounds, meter, fleet)
    for name, leg in most.items():
        report.note(f"{name}, most", leg.outcome.rate, "/s")
    floor_rate = most["bare route + SQL"].outcome.rate
    report.at_least("accept / (bare route + SQL)", most["accept"].outcome.rate / floor_rate, "", RATIO_MIN)
    each = most["accept, a token each"].outcome.rate
    report.at_least("accept, a token each / (bare route + SQL)", each / floor_rate, "", RATIO_MIN)
    report.note("accept / bare route", most["accept"].outcome.rate / most["bare route"].outcome.rate, "")
    floor_cpu = most["bare route + SQL"].cpu_per_answer("floor") + most["bare route + SQL"].cpu_per_answer("postgres")
    accept_cpu = most["accept"].cpu_per_answer("web") + most["accept"].cpu_per_answer("postgres")
    report.note("the same by CPU, process and Postgres", floor_cpu / accept_cpu, "")
    for name, leg in most.items():
        process = "floor" if name.startswith("bare") else "web"
        report.note(f"{name}, {process} process", leg.cpu_per_answer(process), "ms CPU")
        report.note(f"{name}, Postgres", leg.cpu_per_answer("postgres"), "ms CPU")
        report.note(f"{name}, driver", leg.cpu_per_answer("driver"), "ms CPU")
    report.note("open loop", rate, "/s")
    for name, leg in steady.items():
        report.latencies(name, leg.outcome)
    return report
