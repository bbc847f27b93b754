"""The operations on payments, and the way back of their customers."""

from __future__ import annotations

from http import HTTPStatus

from domain.errors import ErrorCode
from ingress.history import HistoryQuery
from ingress.openapi import examples
from ingress.openapi.models import Checkout, Payment, PaymentHistory, Timeline, VerifiedPayment
from ingress.openapi.operation import (
    OF_ACCEPTED,
    OF_BODIES,
    OF_READY,
    Answer,
    Header,
    Operation,
    Parameter,
    Request,
    Tag,
)
from ingress.schemas import PaymentRequest, VerificationRequest

_FOLLOW = {
    "getPayment": ("paymentId", "/data/paymentId"),
    "getTimeline": ("paymentId", "/data/paymentId"),
    "listPayments": ("userId", "/data/userId"),
    "createRefund": ("paymentId", "/data/paymentId"),
    "listRefunds": ("paymentId", "/data/paymentId"),
    "verifyPayment": ("reference", "/data/reference"),
}
_VERIFIED = {
    HTTPStatus.OK: Answer(
        description="Paystack has spoken, or asking it could tell nothing new. It may have said: not paid yet.",
        data=VerifiedPayment,
        example=examples.VERIFIED,
    ),
    HTTPStatus.ACCEPTED: Answer(
        description="Paystack is being asked; this is the payment as it stands. Poll it at `Location`.",
        data=VerifiedPayment,
        example=examples.NOT_VERIFIED,
        headers=(Header.LOCATION, Header.RETRY_AFTER, Header.PREFERENCE_APPLIED),
    ),
}
_VERIFICATION_ERRORS = (
    ErrorCode.INVALID_REQUEST,
    ErrorCode.PAYSTACK_INVALID_REFERENCE,
    ErrorCode.PAYSTACK_TRANSACTION_NOT_FOUND,
    ErrorCode.PAYSTACK_TIMEOUT,
    ErrorCode.PAYSTACK_API_ERROR,
    ErrorCode.GATEWAY_ERROR,
    ErrorCode.GATEWAY_TIMEOUT,
)
_VERIFICATION = (
    "You seldom need it: webhooks tell the same by themselves. It is for the moment a customer comes back, and for a "
    "webhook that never came. However many ask at once, Paystack is asked once. With `Prefer: wait=10` the answer is "
    "held until Paystack has spoken; if it could not be asked, that is the error you get, and Payfleet goes on asking."
)

OPERATIONS = (
    Operation(
        id="createPayment",
        method="post",
        path="/payments",
        tag=Tag.PAYMENTS,
        summary="Take a payment",
        description=(
            "Answers as soon as the payment is stored; a worker asks Paystack a moment later, and `authorizationUrl`, "
            "where the customer pays, appears on the payment. With `Prefer: wait=10` the answer is held until it is "
            "there. With `paymentMethodId` a saved method is charged instead, and the answer says what came of it: "
            "look at `status`.\n\nAn order has one live payment at a time. A customer's token pays for itself only."
        ),
        headers=(Parameter.IDEMPOTENCY_KEY, Parameter.PREFER),
        request=Request(
            model=PaymentRequest,
            examples={
                "On Paystack's page": examples.PAYMENT_REQUEST,
                "With a saved method": examples.SAVED_METHOD_REQUEST,
            },
        ),
        answers={
            HTTPStatus.CREATED: Answer(
                description="You waited, and the customer can be sent on (or the saved method has been charged).",
                data=Payment,
                example=examples.PAYABLE,
                headers=OF_READY,
            ),
            HTTPStatus.ACCEPTED: Answer(
                description="Stored. Poll it at `Location`.",
                data=Payment,
                example=examples.PENDING,
                headers=OF_ACCEPTED,
            ),
        },
        errors=(
            *OF_BODIES,
            ErrorCode.INVALID_AMOUNT,
            ErrorCode.CURRENCY_NOT_SUPPORTED,
            ErrorCode.CHANNEL_NOT_SUPPORTED,
            ErrorCode.INSUFFICIENT_PERMISSIONS,
            ErrorCode.PAYMENT_NOT_FOUND,
            ErrorCode.DUPLICATE_PAYMENT,
            ErrorCode.IDEMPOTENCY_KEY_REUSED,
            ErrorCode.FEATURE_DISABLED,
            ErrorCode.INVALID_PAYMENT_METHOD,
        ),
        links=_FOLLOW,
        writes=True,
    ),
    Operation(
        id="getPayment",
        method="get",
        path="/payments/{paymentId}",
        tag=Tag.PAYMENTS,
        summary="Show a payment",
        description="A customer sees its own payments; somebody else's is answered like one that does not exist.",
        headers=(Parameter.IF_NONE_MATCH,),
        answers={
            HTTPStatus.OK: Answer(
                description="The payment.", data=Payment, example=examples.PAID, headers=(Header.ETAG,)
            ),
            HTTPStatus.NOT_MODIFIED: Answer(description="It has not changed.", headers=(Header.ETAG,)),
        },
        errors=(ErrorCode.PAYMENT_NOT_FOUND,),
    ),
    Operation(
        id="listPayments",
        method="get",
        path="/payments/user/{userId}",
        tag=Tag.PAYMENTS,
        summary="List a user's payments",
        description=(
            "Newest first. Follow `nextCursor` to go on: what it costs does not grow with the depth, as it does with "
            "`offset`. A customer sees its own."
        ),
        query=HistoryQuery,
        answers={HTTPStatus.OK: Answer(description="A page.", data=PaymentHistory, example=examples.HISTORY)},
        errors=(ErrorCode.INVALID_REQUEST, ErrorCode.CURRENCY_NOT_SUPPORTED, ErrorCode.INSUFFICIENT_PERMISSIONS),
    ),
    Operation(
        id="getTimeline",
        method="get",
        path="/payments/{paymentId}/history",
        tag=Tag.PAYMENTS,
        summary="Tell what happened to a payment, and what comes next",
        description="Each fact with its source, and what will be done without anybody asking, with its time.",
        answers={HTTPStatus.OK: Answer(description="The timeline.", data=Timeline, example=examples.TIMELINE)},
        errors=(ErrorCode.PAYMENT_NOT_FOUND,),
    ),
    Operation(
        id="showCheckout",
        method="get",
        path="/checkout",
        tag=Tag.PAYMENTS,
        summary="Tell what can be paid with",
        description="For a shop's page, on whatever host: the public key, the currencies, and the ways to pay in each.",
        answers={
            HTTPStatus.OK: Answer(
                description="What is offered.", data=Checkout, example=examples.CHECKOUT, headers=(Header.ALLOW_ORIGIN,)
            )
        },
        needs_token=False,
    ),
    Operation(
        id="verifyPayment",
        method="get",
        path="/payments/verify",
        tag=Tag.PAYMENTS,
        summary="Ask Paystack about a payment",
        description=_VERIFICATION,
        headers=(Parameter.PREFER,),
        query=VerificationRequest,
        answers=_VERIFIED,
        errors=_VERIFICATION_ERRORS,
        writes=True,
    ),
    Operation(
        id="verifyPaymentByBody",
        method="post",
        path="/payments/verify",
        tag=Tag.PAYMENTS,
        summary="Ask Paystack about a payment, with a body",
        description=_VERIFICATION,
        headers=(Parameter.PREFER,),
        request=Request(model=VerificationRequest, examples={"A payment's reference": examples.VERIFICATION_REQUEST}),
        answers=_VERIFIED,
        errors=(*OF_BODIES, *_VERIFICATION_ERRORS),
        writes=True,
    ),
)
