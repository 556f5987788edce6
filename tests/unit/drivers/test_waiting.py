"""Waiting with a deadline, by a clock of the test."""

from __future__ import annotations

from drivers.waiting import POLL_S, Clock


def test_what_is_done_when_the_deadline_is_seen_to_have_passed_is_done() -> None:
    """As on a computer that did something else between the look and the clock."""
    times, looks = iter((0.0, 7.0)), iter((False, True))
    assert Clock(lambda: next(times), lambda _seconds: None).wait(lambda: next(looks), 5.0)


def test_what_is_never_done_is_given_up_at_the_deadline() -> None:
    now_s = [0.0]

    def sleep(seconds: float) -> None:
        now_s[0] += seconds

    assert not Clock(lambda: now_s[0], sleep).wait(lambda: False, 5.0)
    assert 5.0 <= now_s[0] < 5.0 + 2 * POLL_S
