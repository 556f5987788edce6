"""What others raise, told in a sentence."""

from __future__ import annotations

import pytest

from drivers.errors import said_by


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (Exception("java.lang.Exception: out of memory\n\tat mmcorej.CMMCore"), "out of memory"),
        (Exception("org.micromanager.internal.utils.MMException: no"), "no"),
        (RuntimeError('Error in device "Z": drive error 5'), 'Error in device "Z": drive error 5'),
        (ValueError("exceptional: two"), "exceptional: two"),
        (Exception("java.lang.NullPointerException: "), "java.lang.NullPointerException:"),
        (OSError(), "OSError"),
        (RuntimeError("\n"), "RuntimeError"),
    ],
)
def test_an_exception_is_told_on_one_line(raised: Exception, said: str) -> None:
    assert said_by(raised) == said
