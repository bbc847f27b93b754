"""One HTTP exchange with Paystack: connections kept alive, bounded in time and size, never retried here."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
import requests
import urllib3.exceptions

from domain.errors import ErrorCode
from jobs.paystack.answers import NotSent, Unknown
from jobs.paystack.wire import read_json

CONNECT_TIMEOUT_SECONDS = 3.05  # a little over TCP's first retransmission
READ_TIMEOUT_SECONDS = 20.0
EXCHANGE_SECONDS_MAX = 30.0  # whole answer; the timeouts above bound single reads only

_BODY_BYTES_MAX = 2 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: the body is the parsed JSON, or None when it was not JSON."""

    status: int
    headers: Mapping[str, str]
    body: object


class Transport:
    """Sends requests to one base URL with one secret key; safe to share, each thread has its own session."""

    def __init__(self, base_url: str, secret_key: str) -> None:
        """Take the address and the key; nothing is sent."""
        self._base_url = base_url.rstrip("/")
        self._headers = {
            "Authorization": f"Bearer {secret_key}",
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": "payfleet/0.1",
        }
        self._local = threading.local()

    def exchange(self, method: str, path: str, body: object = None) -> Response | NotSent | Unknown:
        """Send one request and read its whole answer; nothing it meets on the network is raised."""
        request = requests.PreparedRequest()
        data = None if body is None else orjson.dumps(body)
        request.prepare(method, self._base_url + path, headers=self._headers, data=data)  # pyright: ignore[reportUnknownMemberType]
        try:
            return self._send(request)
        except requests.ConnectTimeout:
            return NotSent("no connection within the time limit", ErrorCode.GATEWAY_TIMEOUT)
        except requests.ConnectionError as error:
            return NotSent("no connection") if _never_connected(error) else Unknown(f"connection lost: {_name(error)}")
        except (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError):
            return Unknown("no answer in time", ErrorCode.PAYSTACK_TIMEOUT)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            return Unknown(f"no usable answer: {_name(error)}")

    def _send(self, request: requests.PreparedRequest) -> Response | Unknown:
        # The adapter is called directly: Session.send would look up proxies, cookies, redirects and hooks that this
        # conversation does not have, at half the cost of the whole call.
        response = (
            self._session()
            .get_adapter(self._base_url)
            .send(request, stream=True, timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS))
        )
        deadline = time.monotonic() + EXCHANGE_SECONDS_MAX
        received = bytearray()
        try:
            while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
                received += chunk
                if len(received) > _BODY_BYTES_MAX:
                    response.raw.close()
                    return Unknown("the answer was too long")
                if time.monotonic() > deadline:
                    response.raw.close()
                    return Unknown("the answer took too long", ErrorCode.PAYSTACK_TIMEOUT)
        finally:
            response.raw.release_conn()
        try:
            body = read_json(bytes(received))
        except orjson.JSONDecodeError:
            body = None
        return Response(response.status_code, response.headers, body)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False
        return session


def _never_connected(error: requests.ConnectionError) -> bool:
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    return isinstance(reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError)


def _name(error: BaseException) -> str:
    """Name an error without its text, which may quote the URL or a header."""
    cause = error.args[0] if error.args else None
    inner = getattr(cause, "reason", cause)
    return type(inner).__name__ if isinstance(inner, BaseException) else type(error).__name__
