"""A Redis stand-in in pure Python: enough for limits and breakers, and empty after every start.

Nothing that matters may live in it, which is what the real one is used for as well: losing Redis makes
Payfleet slower, never wrong.
"""

import argparse
import sys

from ops.embedded.ports import LOOPBACK, answers
from ops.embedded.supervisor import Child


def child(port: int) -> Child:
    """The stand-in as a child of the supervisor."""
    return Child(
        name="redis",
        argv=[sys.executable, "-m", "ops.embedded.redis", "--port", str(port)],
        ready=lambda: answers(port),
        stop_seconds=5,
    )


def url(port: int) -> str:
    """Where clients find it."""
    return f"redis://{LOOPBACK}:{port}/0"


def serve(port: int) -> None:
    """Serve until the process is told to end."""
    from fakeredis import TcpFakeServer

    server = TcpFakeServer((LOOPBACK, port), server_type="redis")
    # Otherwise the process would wait at its end for every client that is still connected.
    server.daemon_threads = True
    server.serve_forever()


def main() -> None:
    """Serve on the port given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    serve(parser.parse_args().port)


if __name__ == "__main__":
    main()
