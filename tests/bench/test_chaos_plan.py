"""A campaign's plan: the same for the same seed, as large as it should be, and everything has its turn."""

from collections import Counter

import pytest

from bench.chaos.plan import FULL, LINKS, QUICK, REFUNDABLE, Row, Scale, Way, draw_faults, draw_orders, lanes_of
from bench.chaos.proxy import Weather

SCALES = pytest.mark.parametrize("scale", [FULL, QUICK], ids=lambda scale: scale.name)


@SCALES
def test_the_same_seed_makes_the_same_plan_and_another_seed_another(scale: Scale) -> None:
    assert draw_orders(scale, 7) == draw_orders(scale, 7)
    assert draw_faults(scale, 7) == draw_faults(scale, 7)
    assert draw_orders(scale, 7) != draw_orders(scale, 8)
    assert draw_faults(scale, 7) != draw_faults(scale, 8)


@SCALES
@pytest.mark.parametrize("seed", range(3))
def test_the_load_is_what_was_asked_for_and_can_be_served(scale: Scale, seed: int) -> None:
    orders = draw_orders(scale, seed)
    assert len(orders) == scale.payments
    assert sum(len(order.refunds) for order in orders) == scale.refunds
    assert all(sum(order.refunds) <= order.amount for order in orders)
    assert {order.way for order in orders if order.refunds} <= REFUNDABLE
    assert {order.way for order in orders} == set(Way)
    savers = {order.user for order in orders if order.saves_card}
    assert {order.user for order in orders if order.way is Way.SAVED} <= savers
    assert [order.at for order in orders] == sorted(order.at for order in orders)


@SCALES
@pytest.mark.parametrize("seed", range(3))
def test_every_fault_has_its_number_and_its_time(scale: Scale, seed: int) -> None:
    faults = draw_faults(scale, seed)
    assert Counter(fault.row for fault in faults) == scale.amounts
    assert all(scale.calm_seconds <= fault.at <= scale.end for fault in faults)
    assert sum(len(lane) for lane in lanes_of(faults).values()) == len(faults)


@SCALES
def test_every_way_and_every_weather_has_its_turn(scale: Scale) -> None:
    network = [fault for fault in draw_faults(scale, 1) if fault.row is Row.NETWORK]
    assert {fault.link for fault in network} == set(LINKS)
    assert {fault.weather for fault in network} == set(Weather) - {Weather.CLEAR}


def test_the_full_plan_combines_every_way_with_every_weather() -> None:
    pairs = {(fault.link, fault.weather) for fault in draw_faults(FULL, 1) if fault.row is Row.NETWORK}
    assert len(pairs) == len(LINKS) * (len(Weather) - 1)


def test_the_full_plan_is_the_matrix() -> None:
    assert FULL.amounts[Row.WORKER_KILLED] == 100
    whats = Counter((fault.row, fault.what) for fault in draw_faults(FULL, 1))
    assert whats[Row.BROKER_DOWN, "killed"] == 20
    assert whats[Row.BROKER_DOWN, "restarted"] == 10
    assert {what for row, what in whats if row is Row.BROKER_EMPTIED} == {"deleted", "purged", "wiped"}
