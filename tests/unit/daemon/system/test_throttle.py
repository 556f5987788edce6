"""A flood writes few lines into a log, and does only what is allowed at a rate."""

from __future__ import annotations

import logging

import pytest

from daemon.system.throttle import Allowance, Refusals


def test_refusals_are_all_counted_and_told_ever_more_rarely(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals(logging.getLogger("test"))
    for number in range(1, 1001):
        refusals.add(f"number {number}")
    assert refusals.count == 1000
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"refused, {2**power} so far: number {2**power}" for power in range(10)]


def test_what_is_allowed_comes_back_at_its_rate_and_never_beyond_the_burst() -> None:
    now_s = 0.0
    allowance = Allowance(3, 2.0, lambda: now_s)
    assert [allowance.take() for _ in range(4)] == [True, True, True, False]
    now_s = 0.5
    assert [allowance.take() for _ in range(2)] == [True, False]
    now_s = 3600.0
    assert [allowance.take() for _ in range(4)] == [True, True, True, False]
