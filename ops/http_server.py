"""The HTTP server around the application: granian, with the settings that every web process of Payfleet runs on."""

from __future__ import annotations

REQUEST_THREADS = 16  # of each process; more of them spend their time waiting for one interpreter


def serve(target: str, *, host: str, port: int, workers: int = 1, threads: int = REQUEST_THREADS) -> None:
    """Serve the WSGI application that `target` ("module:factory") makes, until SIGTERM."""
    from granian import Granian
    from granian.constants import Interfaces
    from granian.log import LogLevels

    Granian(
        target,
        factory=True,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=threads,
        backpressure=1024,  # connections, not requests: kept-alive clients count
        respawn_failed_workers=True,
        log_level=LogLevels.error,
        websockets=False,
    ).serve()
