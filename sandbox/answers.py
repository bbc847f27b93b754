"""Paystack's answers: the success envelope, and refusals with their HTTP status, code and advice."""

from __future__ import annotations

from dataclasses import dataclass, field

from sandbox.wire import Json, JsonObject, dump

JSON_TYPE = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, ready to be sent, lost or replaced by a fault."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": JSON_TYPE})


class RefusalError(Exception):
    """A call Paystack refuses, with everything the error body says."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str = "invalid_params",
        kind: str = "validation_error",
        next_step: str = "Ensure that the value(s) you're passing are valid.",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Say it as Paystack does; ``next_step`` is its advice, ``kind`` its ``type``."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.kind = kind
        self.next_step = next_step
        self.headers = headers or {}

    def answer(self) -> Answer:
        """Write the error body: status, message, meta.nextStep, type, code."""
        body: JsonObject = {
            "status": False,
            "message": self.message,
            "meta": {"nextStep": self.next_step},
            "type": self.kind,
            "code": self.code,
        }
        return Answer(self.status, dump(body), {"Content-Type": JSON_TYPE, **self.headers})


def success(message: str, data: Json, *, meta: JsonObject | None = None) -> Answer:
    """Write the envelope of a call that worked, which says nothing about a charge's outcome."""
    body: JsonObject = {"status": True, "message": message, "data": data}
    if meta is not None:
        body["meta"] = meta
    return Answer(200, dump(body))


def unsuccessful(message: str, data: JsonObject) -> Answer:
    """Write the envelope of a charge that came to nothing: refused, and yet with data."""
    return Answer(400, dump({"status": False, "message": message, "data": data}))


def plain(status: int, body: JsonObject) -> Answer:
    """Write JSON as it is, for who is not Paystack."""
    return Answer(status, dump(body))


def told(message: str) -> Answer:
    """Write the envelope of a call that worked and has nothing to show."""
    return Answer(200, dump({"status": True, "message": message}))


def invalid_key() -> RefusalError:
    """Refuse a missing or wrong secret key."""
    return RefusalError(
        401,
        "Invalid key",
        code="invalid_Key",
        next_step="Ensure that you provide the correct authorization key for the request",
    )


def live_key_refused() -> RefusalError:
    """Refuse a live secret key by name: it has no business on a machine that plays Paystack."""
    return RefusalError(
        401,
        "Live secret key refused: this is a sandbox, and a live key must never be sent to it",
        code="invalid_Key",
        next_step="Use a test key here, and replace the live key if it travelled over an untrusted network",
    )


def missing(message: str) -> RefusalError:
    """Refuse a call that lacks a required parameter."""
    return RefusalError(400, message, code="missing_params", next_step="Provide all required params ")


def invalid_email() -> RefusalError:
    """Refuse an address Paystack would not write to."""
    return RefusalError(400, "Invalid Email Address Passed", code="invalid_email_address")


def duplicate_reference() -> RefusalError:
    """Refuse a reference that has had its one transaction."""
    return RefusalError(
        400,
        "Duplicate Transaction Reference",
        code="duplicate_reference",
        next_step="Try and create the Transaction or Charge with a new reference",
    )


def unsupported_currency() -> RefusalError:
    """Refuse a currency the account does not take."""
    return RefusalError(400, "Currency not supported by merchant", code="unsupported_currency")


def reference_not_found(status: int) -> RefusalError:
    """Refuse to verify a reference nobody initialized; seen with 400 and with 404."""
    return RefusalError(
        status,
        "Transaction reference not found.",
        code="transaction_not_found",
        next_step=("Ensure that you're passing the reference of a transaction that exists on this integration"),
    )


def transaction_not_found(message: str = "Transaction not found") -> RefusalError:
    """Refuse to fetch a transaction id that does not exist."""
    return RefusalError(
        404,
        message,
        code="transaction_not_found",
        next_step=(
            "Ensure that you're passing the correct reference for the requested resource that exists on this"
            " integration"
        ),
    )


def fully_reversed() -> RefusalError:
    """Refuse to refund what has all been refunded, or is on its way back."""
    return RefusalError(
        400,
        "Transaction has been fully reversed",
        code="transaction_reversed",
        kind="api_error",
        next_step="Ensure that the transaction still has an amount that can be refunded",
    )


def insufficient_balance() -> RefusalError:
    """Refuse a refund that the account has no money for."""
    return RefusalError(
        400,
        "Insufficient balance to fulfill this refund. Please top up.",
        code="insufficient_balance",
        kind="api_error",
        next_step="Top up your balance and try again",
    )


def refund_not_found() -> RefusalError:
    """Refuse a refund id that does not exist."""
    return RefusalError(404, "Refund not found", code="refund_not_found")


def refund_needs_no_attention() -> RefusalError:
    """Refuse bank details for a refund that did not ask for any."""
    return RefusalError(422, 'Invalid Refund state, refund status should be "needs-attention"')


def customer_not_found() -> RefusalError:
    """Refuse an e-mail address or code that no customer has; the message is Paystack's, whatever was asked."""
    return RefusalError(404, "Customer email is invalid for your live domain.", code="customer_not_found")


def authorization_invalid() -> RefusalError:
    """Refuse an authorization code that does not exist."""
    return RefusalError(400, "Authorization code is invalid")


def authorization_mismatch() -> RefusalError:
    """Refuse a code that belongs to somebody else, was deactivated or serves once only, without saying which."""
    return RefusalError(
        400,
        "Email does not match Authorization code. Authorization may be inactive or belong to a different email."
        " Please confirm.",
    )


def authorization_not_found() -> RefusalError:
    """Refuse to deactivate an authorization code that does not exist."""
    return RefusalError(404, "Authorization code not found.", code="authorization_not_found")


def charge_not_found() -> RefusalError:
    """Refuse a reference that no charge has, or whose charge does not wait for what was sent."""
    return RefusalError(400, "Transaction reference is invalid", code="transaction_not_found")


def endpoint_not_built() -> RefusalError:
    """Say plainly that the sandbox, not Paystack, lacks this endpoint."""
    return RefusalError(
        404,
        "The sandbox has no such endpoint",
        code="not_found",
        kind="api_error",
        next_step="See the table of endpoints in docs/sandbox.md",
    )


def rate_limited(*, limit: int, reset_seconds: int) -> RefusalError:
    """Refuse a call above the quota; ``reset_seconds`` from now the window ends."""
    return RefusalError(
        429,
        "Rate limit exceeded!",
        code="rate_limited",
        kind="api_error",
        next_step="Wait a few minutes and try the API call again",
        headers=quota_headers(limit=limit, remaining=0, reset_seconds=reset_seconds),
    )


def quota_headers(*, limit: int, remaining: int, reset_seconds: int) -> dict[str, str]:
    """Name the quota as Paystack does in its headers; the reset is in seconds from now."""
    return {
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": str(remaining),
        "x-ratelimit-reset": str(reset_seconds),
    }


def broken(status: int) -> Answer:
    """Write the JSON Paystack answers when it fails itself: no meta, and nothing to learn."""
    body: JsonObject = {
        "status": False,
        "message": "An error occurred",
        "type": "api_error",
        "code": "unknown",
    }
    return Answer(status, dump(body))
