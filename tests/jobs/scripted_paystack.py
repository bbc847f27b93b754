"""A Paystack on loopback that answers as the test says, over real sockets, and notes every call.

Without a script it keeps book like the real one: each reference once, verify tells what it knows.
"""

import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


@dataclass(frozen=True)
class Call:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any

    @property
    def reference(self) -> str:
        return self.body.get("reference", "") if self.body else self.path.rpartition("/")[2]

    @property
    def what(self) -> str:
        """The call in one word: initialize, verify, charge_authorization, customer, deactivate."""
        _, area, *rest = self.path.split("/")
        if area == "transaction":
            return rest[0]
        return rest[-1] if self.method == "POST" and rest else area


Step = Callable[["Exchange"], None]


class Exchange(BaseHTTPRequestHandler):
    """One connection; each request takes the next step of the script."""

    protocol_version = "HTTP/1.1"
    paystack: "ScriptedPaystack"

    def do_POST(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name upstream
        """Say nothing."""

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.call = Call(
            self.command,
            self.path,
            {name.lower(): value for name, value in self.headers.items()},
            json.loads(raw) if raw else None,
        )
        self.paystack.step_for(self.call)(self)

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self) -> None:
        """Reset the connection: no goodbye, no answer."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
        self.rfile.close()


def says(status: int, body: object, **headers: str) -> Step:
    """Answer with JSON (or with bytes as they are)."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda exchange: exchange.send(
        status, raw, {name.replace("_", "-"): value for name, value in headers.items()}
    )


def refuses(message: str, code: str | None = None, status: int = 400) -> Step:
    return says(status, {"status": False, "message": message, "type": "validation_error", "code": code})


def resets(exchange: Exchange) -> None:
    exchange.hang_up()


def keeps_book(exchange: Exchange) -> None:
    exchange.paystack.keep_book(exchange)


def does_it_and_resets(exchange: Exchange) -> None:
    """Do what was asked, and lose the answer."""
    exchange.paystack.transactions.setdefault(exchange.call.reference, {"status": "abandoned"})
    exchange.hang_up()


def charges_and_resets(exchange: Exchange) -> None:
    """Charge what was asked, and lose the answer."""
    exchange.paystack.charge(exchange.call)
    exchange.hang_up()


def refunds_and_resets(exchange: Exchange) -> None:
    """Give the money back, and lose the answer."""
    exchange.paystack.refund(exchange.call.body)
    exchange.hang_up()


@dataclass
class Held:
    """Holds an exchange until it is released, then goes on with the next step."""

    then: Step = keeps_book
    arrived: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    def __call__(self, exchange: Exchange) -> None:
        self.arrived.set()
        self.release.wait(60)
        try:
            self.then(exchange)
        except OSError:
            exchange.close_connection = True  # the client gave up long ago


class ScriptedPaystack:
    """The server's book, its script and its notes."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.transactions: dict[str, dict[str, Any]] = {}
        self.authorizations: dict[str, list[dict[str, Any]]] = {}  # by e-mail address
        self.refunds: list[dict[str, Any]] = []
        self.url = ""
        self._script: deque[Step] = deque()
        self._script_of: dict[str, Step] = {}
        self._lock = threading.Lock()

    def next(self, *steps: Step) -> None:
        """What becomes of the next calls, whichever they are; afterwards it keeps book again."""
        self._script.extend(steps)

    def forget_script(self) -> None:
        """Keep book again from the next call on."""
        self._script.clear()

    def always(self, reference: str, step: Step) -> None:
        """What becomes of each call about one reference."""
        self._script_of[reference] = step

    def step_for(self, call: Call) -> Step:
        with self._lock:
            self.calls.append(call)
            special = self._script_of.get(call.reference) if call.path.startswith("/transaction") else None
            if special is not None:
                return special
            return self._script.popleft() if self._script else keeps_book

    @property
    def asked(self) -> list[tuple[str, str]]:
        """The calls in short: (initialize, verify or charge_authorization, reference)."""
        return [(call.what, call.reference) for call in self.calls]

    def keep_book(self, exchange: Exchange) -> None:
        if exchange.call.path.startswith("/refund"):
            return self._keep_book_of_refunds(exchange)
        reference = exchange.call.reference
        if exchange.call.what == "customer":
            return self._show_customer(exchange)
        if exchange.call.what == "deactivate":
            return self._deactivate(exchange)
        if exchange.call.method == "GET":
            found = self.transactions.get(reference)
            if found is None:
                return refuses("Transaction reference not found.", "transaction_not_found")(exchange)
            data = {"id": 7, "reference": reference, "amount": 0, "currency": "NGN", **found}
            return says(200, {"status": True, "message": "Verification successful", "data": data})(exchange)
        if reference in self.transactions:
            return refuses("Duplicate Transaction Reference", "duplicate_reference")(exchange)
        if exchange.call.what == "charge_authorization":
            return self._charge(exchange)
        self.transactions[reference] = {"status": "abandoned", "amount": exchange.call.body["amount"]}
        data = {
            "authorization_url": f"https://checkout.example/{reference}",
            "access_code": f"ac_{reference}",
            "reference": reference,
        }
        return says(200, {"status": True, "message": "Authorization URL created", "data": data})(exchange)

    def charge(self, call: Call) -> dict[str, Any] | None:
        """Charge a code for good; None where it is no code of this customer."""
        known = self.authorizations.get(call.body["email"], [])
        card = next((one for one in known if one["authorization_code"] == call.body["authorization_code"]), None)
        if card is None:
            return None
        paid = {name: call.body[name] for name in ("amount", "currency", "reference")}
        customer = {"email": call.body["email"]}
        data = {**paid, "id": 1000 + len(self.transactions), "status": "success", "customer": customer}
        self.transactions[call.reference] = {**data, "authorization": card, "channel": "card", "domain": "test"}
        return self.transactions[call.reference]

    def _charge(self, exchange: Exchange) -> None:
        data = self.charge(exchange.call)
        if data is None:
            return refuses("Email does not match Authorization code. Authorization may be inactive")(exchange)
        return says(200, {"status": True, "message": "Charge attempted", "data": data})(exchange)

    def _show_customer(self, exchange: Exchange) -> None:
        email = unquote(exchange.call.reference)
        if email not in self.authorizations:
            return refuses("Customer email is invalid for your live domain.", status=404)(exchange)
        data = {"email": email, "authorizations": self.authorizations[email]}
        return says(200, {"status": True, "message": "Customer retrieved", "data": data})(exchange)

    def _deactivate(self, exchange: Exchange) -> None:
        code = exchange.call.body["authorization_code"]
        for cards in self.authorizations.values():
            for card in cards:
                if card["authorization_code"] == code:
                    cards.remove(card)
                    return says(200, {"status": True, "message": "Authorization has been deactivated"})(exchange)
        return refuses("Authorization code not found.", status=404)(exchange)

    def refund(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Note a refund as create does; it stays pending until the test says otherwise."""
        noted = {**wanted, "id": 900 + len(self.refunds), "status": "pending", "domain": "test"}
        self.refunds.append(noted)
        return noted

    def _keep_book_of_refunds(self, exchange: Exchange) -> None:
        """Create shows the transaction whole, list its number; the list comes in pages of two, whatever was asked."""
        if exchange.call.method == "POST":
            noted = self.refund(exchange.call.body)
            whole = {**noted, "transaction": {"id": noted["transaction"]}, "refunded_by": "merchant@example.com"}
            return says(200, {"status": True, "message": "Refund has been queued for processing", "data": whole})(
                exchange
            )
        path, _, query = exchange.call.path.partition("?")
        if not query:
            (found,) = [r for r in self.refunds if path == f"/refund/{r['id']}"]
            return says(200, {"status": True, "message": "Refund retrieved", "data": found})(exchange)
        asked = {name: int(value) for name, _, value in (pair.partition("=") for pair in query.split("&"))}
        of_it = [r for r in self.refunds if r["transaction"] == asked["transaction"]]
        page = of_it[2 * asked["page"] - 2 : 2 * asked["page"]]
        return says(200, {"status": True, "message": "Refunds retrieved", "data": page})(exchange)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is part of the story."""


@contextmanager
def running() -> Generator[ScriptedPaystack]:
    paystack = ScriptedPaystack()
    handler = type("Handler", (Exchange,), {"paystack": paystack})
    with _Server(("127.0.0.1", 0), handler) as server:
        paystack.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield paystack
        finally:
            server.shutdown()
            thread.join()
            server.block_on_close = False
