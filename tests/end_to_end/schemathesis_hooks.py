"""What Schemathesis is told beside its own checks, loaded by it: see test_schemathesis.py."""

import json

import schemathesis
from schemathesis.checks import CheckContext
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response
from schemathesis.generation.case import Case

# OpenAPI cannot say the one of two parameters, and JSON Schema would hide what metadata is behind what is in it.
SAID_IN_WORDS = ("either a cursor or an offset", "64-bit")


class CalledMalformed(Failure):
    """A request that fits the document was refused as if it did not."""


@schemathesis.check
def what_fits_the_document_is_not_malformed(ctx: CheckContext, response: Response, case: Case) -> bool | None:
    """Hold the document's schemas to the validators: only what they do not allow may be INVALID_REQUEST.

    A request may still be refused for what it means: an order that is paid, a currency's limits, somebody else's id.
    """
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return None
    error = json.loads(response.content)["error"]
    if error["code"] == "INVALID_REQUEST" and not any(words in str(error) for words in SAID_IN_WORDS):
        raise CalledMalformed(operation=case.operation.label, message=json.dumps(error))
    return None
