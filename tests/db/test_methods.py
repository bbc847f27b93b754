"""Saved methods in Postgres: sealed, one default for each user, decided under the user's lock."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from db import methods
from db.connection import Database
from db.methods import NewMethod
from domain.errors import ErrorCode
from domain.method import MethodStatus, PaymentMethod
from tests.stories import AUTHORIZATION_CODE, EMAIL, authorization, method_now, rows, save_method, seal


def card(database: Database, number: int, user_id: str = "user-1") -> PaymentMethod:
    return save_method(database, authorization(f"AUTH_{number}", signature=f"SIG_{number}"), user_id=user_id)


def defaults(database: Database, user_id: str = "user-1") -> list[object]:
    return [
        row[0] for row in rows(database, "SELECT id FROM payment_methods WHERE is_default AND user_id = %s", user_id)
    ]


def deactivate(database: Database, method: PaymentMethod) -> None:
    with database.transaction() as tx:
        methods.lock_user(tx, method.user_id)
        methods.deactivate_method(tx, method.id, user_id=method.user_id)


def test_code_and_address_are_sealed(database: Database) -> None:
    save_method(database)
    ((text,),) = rows(database, "SELECT to_jsonb(m)::text FROM payment_methods m")
    assert AUTHORIZATION_CODE.encode().hex() not in text
    assert EMAIL.encode().hex() not in text
    assert EMAIL not in text


def test_the_first_method_of_a_user_is_the_default_until_another_is_chosen(database: Database) -> None:
    first, second, elsewhere = card(database, 1), card(database, 2), card(database, 3, "user-2")
    assert defaults(database) == [first.id]
    assert defaults(database, "user-2") == [elsewhere.id]
    with database.transaction() as tx:
        methods.lock_user(tx, "user-1")
        methods.set_default_method(tx, second.id, user_id="user-1")
    assert defaults(database) == [second.id]
    assert defaults(database, "user-2") == [elsewhere.id]


def test_a_default_that_goes_hands_on_to_the_newest_that_is_left(database: Database) -> None:
    first, second, third = (card(database, number) for number in (1, 2, 3))
    deactivate(database, first)
    assert defaults(database) == [third.id]
    deactivate(database, third)
    assert defaults(database) == [second.id]
    deactivate(database, second)
    assert defaults(database) == []


def test_the_last_word_on_a_method_stands(database: Database) -> None:
    method = card(database, 1)
    deactivate(database, method)
    with database.transaction() as tx:
        methods.deactivate_method(
            tx, method.id, user_id="user-1", code=ErrorCode.PAYSTACK_AUTHORIZATION_INVALID, message="gone"
        )
    after = method_now(database, method.id)
    assert (after.status, after.failure_code) == (MethodStatus.INACTIVE, None)


def test_a_users_methods_come_newest_first(database: Database) -> None:
    made = [card(database, number).id for number in (1, 2, 3)]
    with database.connection() as connection:
        assert [method.id for method in methods.get_active_methods(connection, "user-1")] == made[::-1]


def test_methods_saved_at_once_leave_one_default(database: Database) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: card(database, number), range(8)))
    assert len(defaults(database)) == 1
    assert rows(database, "SELECT count(*) FROM payment_methods WHERE status = 'ACTIVE'") == [(8,)]


@pytest.mark.parametrize("key", ["k", None])
def test_a_key_stores_one_method_and_its_job(database: Database, key: str | None) -> None:
    new = NewMethod(
        user_id="user-1",
        authorization_sealed=seal().seal(b"AUTH_1"),
        email_sealed=seal().seal(EMAIL.encode()),
        card_type=None,
    )
    with database.connection() as connection:
        made = [
            methods.accept_method(
                connection,
                new=new,
                caller="user-1",
                key=key,
                fingerprint=b"f",
                correlation_id="req_test",
                trace_context=None,
            )
            for _ in range(2)
        ]
    assert made[0] is not None
    assert made[0].status is MethodStatus.PENDING
    assert (made[1] is None) is (key is not None)
    assert rows(database, "SELECT count(*) FROM payment_methods") == rows(database, "SELECT count(*) FROM jobs")
    job = rows(database, "SELECT kind, queue, payload->>'payment_method_id' FROM jobs WHERE id = %s", made[0].id)
    assert job == [("check_payment_method", "verifications", str(made[0].id))]
