"""Where drawn objects are sharpest: one peak of what turns light, the middle between two of what is transparent."""

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.views.channels import Scale
from inference.views.object_focus import StateFocus, state_focus

STEP_UM, PLANES, SIDE = 0.3, 15, 80
BOX = (16, 16, 64, 64)
SCALE = Scale.of(0.059, 0.12)


def ring() -> NDArray[np.float64]:
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.asarray(np.exp(-(((np.hypot(x - 40, y - 40) - 16) / 2.5) ** 2)))


def focus_of(light: NDArray[np.float64], *, dark: bool) -> StateFocus:
    planes = np.random.default_rng(4).poisson(light).astype(np.uint16)
    return state_focus(planes, BOX, SCALE, STEP_UM, dark=dark)


@pytest.mark.parametrize("plane", [4.0, 6.3, 7.5])
def test_what_shines_is_sharpest_in_its_own_plane(plane: float) -> None:
    away_um = (np.arange(PLANES) - plane) * STEP_UM
    height = np.exp(-(away_um**2) / (2 * 0.45**2))
    found = focus_of(150 + 2500 * height[:, None, None] * ring(), dark=True)
    assert found.reference.plane == pytest.approx(plane, abs=0.12)
    assert found.display == found.reference
    assert not found.reference.at_edge
    assert found.contrast > 3
    assert 0.3 <= found.depth_um(STEP_UM) <= 1.5


@pytest.mark.parametrize("plane", [6.0, 7.4])
def test_what_is_transparent_lies_between_its_two_peaks(plane: float) -> None:
    away_um = (np.arange(PLANES) - plane) * STEP_UM
    turning = away_um / 0.45 * np.exp(0.5 - away_um**2 / (2 * 0.45**2)) * (1 + 0.15 * np.sign(away_um))
    found = focus_of(30000 * (1 + 0.2 * turning[:, None, None] * ring()), dark=False)
    assert found.reference.plane == pytest.approx(plane, abs=0.3)
    assert found.display.plane == pytest.approx(plane + 0.45 / STEP_UM, abs=0.4)
    assert found.lower == pytest.approx(plane - 0.45 / STEP_UM, abs=0.4)


def test_one_peak_in_bright_field_is_the_plane_itself() -> None:
    height = np.exp(-(((np.arange(PLANES) - 5.2) / 2) ** 2))
    found = focus_of(30000 * (1 - 0.2 * height[:, None, None] * ring()), dark=False)
    assert found.reference.plane == found.display.plane == pytest.approx(5.2, abs=0.15)
    assert found.lower is None


def test_what_is_sharpest_at_the_end_may_lie_beyond() -> None:
    height = np.linspace(0.1, 1, PLANES)
    found = focus_of(150 + 2500 * height[:, None, None] * ring(), dark=True)
    assert found.reference == (PLANES - 1, True)


def test_a_deep_stack_is_looked_at_as_a_shallow_one() -> None:
    """More planes than an image of OpenCV has channels."""
    planes = np.random.default_rng(1).poisson(1000 + 100 * ring(), (300, SIDE, SIDE)).astype(np.uint16)
    deep = state_focus(planes, BOX, SCALE, STEP_UM, dark=True).sharpness
    parts = [state_focus(planes[k : k + 50], BOX, SCALE, STEP_UM, dark=True).sharpness for k in range(0, 300, 50)]
    np.testing.assert_array_equal(deep, np.concatenate(parts))
