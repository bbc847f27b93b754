"""The operations on saved payment methods."""

from __future__ import annotations

from http import HTTPStatus

from domain.errors import ErrorCode
from ingress.openapi import examples
from ingress.openapi.models import PaymentMethod, PaymentMethods
from ingress.openapi.operation import OF_ACCEPTED, OF_BODIES, OF_READY, Answer, Operation, Parameter, Request, Tag
from ingress.schemas import PaymentMethodRequest

_ONE = ("paymentMethodId", "/data/paymentMethodId")

OPERATIONS = (
    Operation(
        id="createPaymentMethod",
        method="post",
        path="/payment-methods",
        tag=Tag.METHODS,
        summary="Save a payment method by its code",
        description=(
            "For a code you already hold; a payment with `savePaymentMethod` saves one by itself. The code and the "
            "e-mail address are sealed at rest and never shown. A card that is saved already stays one method."
        ),
        headers=(Parameter.IDEMPOTENCY_KEY, Parameter.PREFER),
        request=Request(model=PaymentMethodRequest, examples={"A card": examples.METHOD_REQUEST}),
        answers={
            HTTPStatus.CREATED: Answer(
                description="You waited, and it can be charged; or it was saved before, see `mergedInto`.",
                data=PaymentMethod,
                example=examples.ACTIVE,
                headers=OF_READY,
            ),
            HTTPStatus.ACCEPTED: Answer(
                description="Stored; a worker asks Paystack about the code. Poll it at `Location`.",
                data=PaymentMethod,
                example=examples.UNCHECKED,
                headers=OF_ACCEPTED,
            ),
        },
        errors=(
            *OF_BODIES,
            ErrorCode.INSUFFICIENT_PERMISSIONS,
            ErrorCode.PAYMENT_METHOD_NOT_FOUND,
            ErrorCode.IDEMPOTENCY_KEY_REUSED,
            ErrorCode.INVALID_PAYMENT_METHOD,
            ErrorCode.PAYSTACK_AUTHORIZATION_INVALID,
        ),
        links={"getPaymentMethod": _ONE, "chooseDefaultPaymentMethod": _ONE, "deletePaymentMethod": _ONE},
        writes=True,
    ),
    Operation(
        id="getPaymentMethod",
        method="get",
        path="/payment-methods/{paymentMethodId}",
        tag=Tag.METHODS,
        summary="Show a payment method",
        description="Somebody else's is answered like one that does not exist.",
        answers={HTTPStatus.OK: Answer(description="The method.", data=PaymentMethod, example=examples.ACTIVE)},
        errors=(ErrorCode.PAYMENT_METHOD_NOT_FOUND,),
    ),
    Operation(
        id="listPaymentMethods",
        method="get",
        path="/payment-methods/user/{userId}",
        tag=Tag.METHODS,
        summary="List a user's payment methods",
        description="The active ones, newest first.",
        answers={HTTPStatus.OK: Answer(description="The methods.", data=PaymentMethods, example=examples.METHODS)},
        errors=(ErrorCode.INSUFFICIENT_PERMISSIONS,),
    ),
    Operation(
        id="chooseDefaultPaymentMethod",
        method="post",
        path="/payment-methods/{paymentMethodId}/default",
        tag=Tag.METHODS,
        summary="Make a payment method the default",
        description="The one to offer first. A user's first active method is the default by itself.",
        answers={HTTPStatus.OK: Answer(description="The method.", data=PaymentMethod, example=examples.ACTIVE)},
        errors=(
            ErrorCode.INSUFFICIENT_PERMISSIONS,
            ErrorCode.PAYMENT_METHOD_NOT_FOUND,
            ErrorCode.INVALID_PAYMENT_METHOD,
        ),
        writes=True,
    ),
    Operation(
        id="deletePaymentMethod",
        method="delete",
        path="/payment-methods/{paymentMethodId}",
        tag=Tag.METHODS,
        summary="Take a payment method away",
        description=(
            "From this moment Payfleet charges it no more, and a worker has Paystack deactivate its code. It stays "
            "readable, `inactive`; doing it again does no harm."
        ),
        answers={HTTPStatus.OK: Answer(description="The method.", data=PaymentMethod, example=examples.TAKEN_AWAY)},
        errors=(ErrorCode.INSUFFICIENT_PERMISSIONS, ErrorCode.PAYMENT_METHOD_NOT_FOUND),
        writes=True,
    ),
)
