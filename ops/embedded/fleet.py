"""Relay, workers and scheduler in one process, with an in-process broker: what `payfleet up` runs without a RabbitMQ.

The relay, the ledger, the actors and the use cases are those of production. Only the broker's memory is this process's
own; what a crash loses of it, the sweeper brings back from the ledger.
"""

import threading

from domain.jobs import Queue
from domain.settings import load
from ops.logs import configure_logs
from ops.signals import until_signal
from workers.broker import in_process_broker
from workers.process import run_worker
from workers.publishing import InProcessPublisher
from workers.relay import Relay
from workers.roots import job_context, looks_a_minute, make_database
from workers.scheduler import run_scheduler


def main() -> None:
    """Run until SIGTERM."""
    settings = load()
    configure_logs(settings.log_level)
    url = settings.database_url.get_secret_value()
    broker = in_process_broker()
    with until_signal() as stop, job_context(settings) as context, make_database(settings, "relay") as database:
        relay = Relay(database, InProcessPublisher(broker), settings.rabbitmq_exchange)
        beside = [
            threading.Thread(target=relay.run, args=(stop,), name="relay"),
            threading.Thread(
                target=run_scheduler,
                args=(database, url, stop),
                kwargs={"looks_a_minute": looks_a_minute(settings)},
                name="scheduler",
            ),
        ]
        for thread in beside:
            thread.start()
        try:
            run_worker(broker, context, list(Queue), stop, watched=beside)
        finally:
            stop.set()
            for thread in beside:
                thread.join()


if __name__ == "__main__":
    main()
