"""Every enum member has been decided about: a new one fails here until it has."""

from domain.errors import STATUS_OF, ErrorCode
from domain.jobs import QUEUE_OF, JobKind, Queue
from domain.payment import MOVES, PAID, PaymentStatus
from workers.actors import USE_CASES
from workers.process import THREADS_OF


def test_every_payment_status_has_its_moves() -> None:
    assert set(MOVES) == set(PaymentStatus)
    assert set(PaymentStatus) >= PAID


def test_every_error_code_has_its_http_status() -> None:
    assert set(STATUS_OF) == set(ErrorCode)
    assert all(400 <= status <= 599 for status in STATUS_OF.values())


def test_every_job_kind_has_its_queue_and_its_use_case() -> None:
    assert set(QUEUE_OF) == set(JobKind)
    assert set(USE_CASES) == set(JobKind)


def test_every_queue_is_used_and_has_its_threads() -> None:
    assert set(QUEUE_OF.values()) == set(Queue)
    assert set(THREADS_OF) == set(Queue)
