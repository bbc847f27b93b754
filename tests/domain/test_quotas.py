"""Quotas: what an operator may set, over what Paystack publishes."""

import pytest

from domain.quotas import KEPT_FOR, Endpoint, Lane, parse_limits, published_limits


def test_the_published_limits_are_those_of_the_kind_of_key() -> None:
    assert set(published_limits(live=False).values()) == {100}
    live = published_limits(live=True)
    assert (live[Endpoint.INITIALIZE], live[Endpoint.VERIFY], live[Endpoint.CREATE_REFUND]) == (1_200, 3_000, 600)


def test_an_operator_sets_some_limits_and_leaves_the_others() -> None:
    limits = parse_limits(" verify=50 , initialize=7,", published_limits(live=True))
    assert (limits[Endpoint.VERIFY], limits[Endpoint.INITIALIZE]) == (50, 7)
    assert limits[Endpoint.CREATE_REFUND] == 600
    assert parse_limits("", published_limits(live=False)) == published_limits(live=False)


def test_the_last_word_counts() -> None:
    limits = parse_limits("verify=5,all=10,initialize=20", published_limits(live=False))
    assert limits == {**dict.fromkeys(Endpoint, 10), Endpoint.INITIALIZE: 20}


@pytest.mark.parametrize("text", ["verify", "verify=", "verify=0", "verify=-1", "verify=1.5", "refunds=3", "=5", "5"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is n"):
        parse_limits(text, published_limits(live=True))


def test_the_more_urgent_a_lane_the_more_is_kept_for_it_and_some_is_kept_for_nobody() -> None:
    for shares in KEPT_FOR.values():
        by_urgency = [shares[lane] for lane in Lane if lane in shares]
        assert by_urgency == sorted(by_urgency, reverse=True)
        assert 0 < sum(by_urgency) < 1
        assert min(by_urgency) > 0
