"""The operations on refunds."""

from __future__ import annotations

from http import HTTPStatus

from domain.errors import ErrorCode
from ingress.openapi import examples
from ingress.openapi.models import Refund, RefundsOfPayment
from ingress.openapi.operation import OF_ACCEPTED, OF_BODIES, OF_READY, Answer, Operation, Parameter, Request, Tag
from ingress.schemas import RefundRequest

OPERATIONS = (
    Operation(
        id="createRefund",
        method="post",
        path="/payments/{paymentId}/refund",
        tag=Tag.REFUNDS,
        summary="Refund a payment",
        description=(
            "Gives back `amount`, or all that is left. The money is promised to this refund at once: no two refunds "
            "can have the same. For `service`, `support` and `admin`. Send an `Idempotency-Key`: without one, sending "
            "this twice refunds twice, as far as money is left."
        ),
        headers=(Parameter.IDEMPOTENCY_KEY, Parameter.PREFER),
        request=Request(model=RefundRequest, examples={"A part": examples.REFUND_REQUEST, "All that is left": {}}),
        answers={
            HTTPStatus.CREATED: Answer(
                description="You waited, and Paystack has the refund, or will not have it: look at `status`.",
                data=Refund,
                example=examples.TAKEN_UP,
                headers=OF_READY,
            ),
            HTTPStatus.ACCEPTED: Answer(
                description="Stored. Poll it at `Location`.",
                data=Refund,
                example=examples.REQUESTED,
                headers=OF_ACCEPTED,
            ),
        },
        errors=(
            *OF_BODIES,
            ErrorCode.INVALID_AMOUNT,
            ErrorCode.INSUFFICIENT_PERMISSIONS,
            ErrorCode.PAYMENT_NOT_FOUND,
            ErrorCode.IDEMPOTENCY_KEY_REUSED,
            ErrorCode.REFUND_NOT_ALLOWED,
            ErrorCode.PARTIAL_REFUND_EXCEEDS,
        ),
        links={"getRefund": ("refundId", "/data/refundId")},
        writes=True,
    ),
    Operation(
        id="listRefunds",
        method="get",
        path="/payments/{paymentId}/refunds",
        tag=Tag.REFUNDS,
        summary="List a payment's refunds",
        description="With what was given back so far, and what may still be.",
        answers={HTTPStatus.OK: Answer(description="The refunds.", data=RefundsOfPayment, example=examples.REFUNDS)},
        errors=(ErrorCode.PAYMENT_NOT_FOUND,),
    ),
    Operation(
        id="getRefund",
        method="get",
        path="/refunds/{refundId}",
        tag=Tag.REFUNDS,
        summary="Show a refund",
        description="A customer sees the refunds of its own payments.",
        answers={HTTPStatus.OK: Answer(description="The refund.", data=Refund, example=examples.REFUNDED)},
        errors=(ErrorCode.REFUND_NOT_FOUND,),
    ),
)
