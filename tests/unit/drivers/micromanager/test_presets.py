import pytest

from drivers.micromanager.presets import alike


@pytest.mark.parametrize(
    ("wanted", "read", "same"),
    [
        ("Crossed", "Crossed", True),
        ("Crossed", "crossed", False),
        ("2.5", "2.5000", True),
        ("2.5", "2.52", True),
        ("2.5", "2.53", False),
        ("0.25", "0.2487", True),
        ("0", "0.0009", True),
        ("0", "0.002", False),
        ("1", "1.0", True),
        # Positions of a wheel: 1 % of 100 is another one.
        ("100", "101", False),
        ("7", "07", True),
        ("2.5", "", False),
        ("2.5", "nan", False),
        ("Open", "2.5", False),
    ],
)
def test_properties_are_compared_as_what_they_are(wanted: str, read: str, same: bool) -> None:
    assert alike(wanted, read, tolerance=0.01) is same
