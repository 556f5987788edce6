"""Redo, retake, resume, kills, a recorder that comes and goes, and analyses in between, in orders drawn by chance."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.support.attempts_in_any_order import AttemptsInAnyOrder

pytestmark = pytest.mark.slow

TestAttempts = AttemptsInAnyOrder.TestCase
TestAttempts.settings = settings(
    max_examples=8, stateful_step_count=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
