"""The operations that are not for your backend: for Paystack, for browsers, and for whoever runs the installation."""

from __future__ import annotations

from http import HTTPStatus

from domain.errors import ErrorCode
from ingress.openapi import examples
from ingress.openapi.models import CustomersReturn, Liveness, PaystackEvent, Readiness, WebhookReceipt
from ingress.openapi.operation import Answer, Header, Operation, Parameter, Request, Tag

_PAGE = "text/html; charset=utf-8"

OPERATIONS = (
    Operation(
        id="receivePaystackEvent",
        method="post",
        path="/webhooks/paystack",
        tag=Tag.PAYSTACK,
        summary="Receive an event of Paystack's",
        description=(
            "Set this address in Paystack's dashboard. The signature is taken over the raw body; what does not fit it "
            "is refused, and nothing is stored. An event is applied once, however often it comes."
        ),
        headers=(Parameter.SIGNATURE,),
        request=Request(model=PaystackEvent, examples={"A charge that succeeded": examples.PAYSTACK_EVENT}),
        answers={
            HTTPStatus.OK: Answer(
                description="Stored.", data=WebhookReceipt, example={"received": True, "duplicate": False}
            )
        },
        errors=(ErrorCode.PAYSTACK_WEBHOOK_INVALID, ErrorCode.PAYLOAD_TOO_LARGE),
        needs_token=False,
        writes=True,
    ),
    Operation(
        id="comeBack",
        method="get",
        path="/payments/callback",
        tag=Tag.PAYSTACK,
        summary="Bring a customer's browser back",
        description=(
            "Where Paystack sends the browser when `PAYSTACK_CALLBACK_URL` names this route. Coming back proves "
            "nothing: Paystack is asked, for at most five seconds. The status in the address that the browser is sent "
            "on to is a hint to show; ask for the payment before you deliver."
        ),
        query=CustomersReturn,
        answers={
            HTTPStatus.SEE_OTHER: Answer(
                description="On to the payment's `callbackUrl`, with `paymentId`, `reference` and `status` added.",
                headers=(Header.LOCATION,),
            ),
            HTTPStatus.OK: Answer(
                description="The payment has no `callbackUrl`: a page that says what became of it.", media_type=_PAGE
            ),
            HTTPStatus.NOT_FOUND: Answer(description="A page: there is no such payment.", media_type=_PAGE),
            HTTPStatus.SERVICE_UNAVAILABLE: Answer(description="A page: come again in a moment.", media_type=_PAGE),
        },
        needs_token=False,
        uses_database=False,
    ),
    Operation(
        id="health",
        method="get",
        path="/health",
        tag=Tag.OPERATION,
        summary="Say that the process lives",
        description="Asks nobody else.",
        answers={HTTPStatus.OK: Answer(description="It does.", data=Liveness, example={"status": "alive"})},
        needs_token=False,
        uses_database=False,
    ),
    Operation(
        id="ready",
        method="get",
        path="/ready",
        tag=Tag.OPERATION,
        summary="Say that the process can serve",
        description="Its database answers and is migrated. RabbitMQ and Paystack are not needed to accept payments.",
        answers={
            HTTPStatus.OK: Answer(description="It can.", data=Readiness, example={"status": "ready", "postgres": "up"})
        },
        needs_token=False,
    ),
    Operation(
        id="describe",
        method="get",
        path="/openapi.json",
        tag=Tag.OPERATION,
        summary="Describe this API",
        description="This document.",
        headers=(Parameter.IF_NONE_MATCH,),
        answers={
            HTTPStatus.OK: Answer(description="OpenAPI 3.1.", media_type="application/json", headers=(Header.ETAG,)),
            HTTPStatus.NOT_MODIFIED: Answer(description="It has not changed.", headers=(Header.ETAG,)),
        },
        needs_token=False,
        uses_database=False,
    ),
    Operation(
        id="showReference",
        method="get",
        path="/docs",
        tag=Tag.OPERATION,
        summary="Show this document to a person",
        description="Nothing on the page is loaded from anywhere else.",
        headers=(Parameter.IF_NONE_MATCH,),
        answers={
            HTTPStatus.OK: Answer(description="A page.", media_type=_PAGE, headers=(Header.ETAG,)),
            HTTPStatus.NOT_MODIFIED: Answer(description="It has not changed.", headers=(Header.ETAG,)),
        },
        needs_token=False,
        uses_database=False,
    ),
)
