"""What a field shows: bodies alone, over each other, and cut by the frame."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.settings import PolarizerErrors
from drivers.virtual_slide.matter import CALCITE, ORGANIC, Body, Slice
from drivers.virtual_slide.optics.body_light import Mount
from drivers.virtual_slide.optics.polarizers import CROSSED, PARALLEL, PolarizedLight, Polarizers
from drivers.virtual_slide.scene import FramePlace, Scene, look
from drivers.virtual_slide.specimens.canvas import Canvas
from drivers.virtual_slide.specimens.drawer import Drawer, make_drawer
from drivers.virtual_slide.specimens.kinds import Kind, Sizes
from drivers.virtual_slide.specimens.specimen import Specimen

FRAME = FramePlace(0.0, 0.0, (200, 240), 0.059)
CENTRE = np.s_[90:110, 110:130]
PERFECT = Polarizers(0, 0, 0.0)
THICKNESS_UM = 0.35
HALF = np.pi * 0.174 * THICKNESS_UM / 0.546


def plate(length_um: float = 5.0, width_um: float = 4.0) -> Body:
    """A single crystal with its axis along x."""
    canvas = Canvas(length_um, width_um)
    inside = canvas.inside(np.abs(canvas.x) - length_um / 2) * canvas.inside(np.abs(canvas.y) - width_um / 2)
    return canvas.body([Slice(0.0, CALCITE, THICKNESS_UM * inside, canvas.empty)])


def veil() -> Body:
    canvas = Canvas(5.0, 4.0)
    inside = canvas.inside(np.abs(canvas.x) - 2.5) * canvas.inside(np.abs(canvas.y) - 2.0)
    return canvas.body([Slice(0.0, ORGANIC, canvas.empty, absorption=0.5 * inside)])


def drawer(body: Body) -> Drawer:
    kind = Kind("plate", "plate", True, 1, Sizes(5, 0.1, 4, 6), (0, 0), lambda _length, _random: body)
    return make_drawer(Specimen(kind, 0, body, False), Mount(bandwidth_um=0.0))


@pytest.fixture(scope="module")
def crystal() -> Drawer:
    return drawer(plate())


def draw(state: str, polarizers: Polarizers, *placed: tuple[Drawer, float, float, float, float]) -> NDArray[np.float32]:
    """Draw bodies at x, y, angle, z."""
    seen = [look(FRAME, kept, x, y, angle, z) for kept, x, y, angle, z in placed]
    light = np.empty(FRAME.size_px, np.float32)
    scene = Scene([one for one in seen if one is not None], FRAME)
    scene.draw(light, state, 0.0, PolarizedLight(FRAME.size_px, polarizers))
    return light


def test_a_crystal_alone_shines_as_its_retardance_says_at_any_angle(crystal: Drawer) -> None:
    for angle in (0.0, 0.7, 2.0):
        crossed, parallel = (draw(s, PERFECT, (crystal, 0.0, 0.0, angle, 0.0)) for s in (CROSSED, PARALLEL))
        assert crossed[CENTRE].mean() == pytest.approx(np.sin(HALF) ** 2, rel=0.02)
        assert parallel[CENTRE].mean() == pytest.approx(np.cos(HALF) ** 2, rel=0.02)
        assert crossed[:8].max() < 1e-3
        assert parallel[:8].mean() == pytest.approx(1, abs=2e-3)


def test_two_crystals_across_each_other_cancel_and_two_alike_add_up(crystal: Drawer) -> None:
    below, across = (crystal, 0.0, 0.0, 0.3, 0.0), (crystal, 0.1, 0.0, 0.3 + np.pi / 2, 0.0)
    alike = (crystal, 0.1, 0.0, 0.3, 0.0)
    assert draw(CROSSED, PERFECT, below, across)[CENTRE].mean() < 0.01 * np.sin(HALF) ** 2
    assert draw(PARALLEL, PERFECT, below, across)[CENTRE].mean() == pytest.approx(1, abs=0.02)
    assert draw(CROSSED, PERFECT, below, alike)[CENTRE].mean() == pytest.approx(np.sin(2 * HALF) ** 2, rel=0.03)


def test_the_light_of_an_overlap_passes_smoothly_into_that_of_its_parts(crystal: Drawer) -> None:
    one, other = (crystal, -1.2, 0.0, 0.0, 0.0), (crystal, 1.2, 0.0, 0.6, 0.0)
    light = draw(CROSSED, PERFECT, one, other)
    steepest = max(float(np.abs(np.diff(draw(CROSSED, PERFECT, each), axis=1)).max()) for each in (one, other))
    assert np.abs(np.diff(light, axis=1)).max() < 2 * steepest
    assert np.abs(np.diff(light, axis=0)).max() < 2 * steepest


def test_coherent_leakage_makes_a_crystal_depend_on_its_angle(crystal: Drawer) -> None:
    leaky = Polarizers(0.1, 0, 0.0)
    bright = [
        float(draw(CROSSED, leaky, (crystal, 0.0, 0.0, angle, 0.0))[CENTRE].mean())
        for angle in np.arange(0, np.pi, np.pi / 8)
    ]
    swing = 2 * 0.1 * np.sin(HALF) * np.cos(HALF)
    assert max(bright) - np.mean(bright) == pytest.approx(swing, rel=0.1)
    assert np.mean(bright) == pytest.approx(np.sin(HALF) ** 2 + 0.01 * np.cos(HALF) ** 2, rel=0.05)


def test_what_absorbs_takes_light_of_both_states_from_what_lies_under_it(crystal: Drawer) -> None:
    cover, errors = drawer(veil()), Polarizers.of(PolarizerErrors())
    for state in (CROSSED, PARALLEL):
        bare = draw(state, errors, (crystal, 0.0, 0.0, 0.0, 0.0))[CENTRE].mean()
        covered = draw(state, errors, (crystal, 0.0, 0.0, 0.0, 0.0), (cover, 0.0, 0.0, 0.0, 0.0))[CENTRE].mean()
        assert covered / bare == pytest.approx(np.exp(-0.5), rel=0.02)


def test_a_body_cut_by_the_frame_is_the_same_where_it_is_seen(crystal: Drawer) -> None:
    whole = draw(CROSSED, PERFECT, (crystal, 0.0, 0.0, 0.4, 0.0))
    moved = draw(CROSSED, PERFECT, (crystal, -100 * FRAME.pixel_um, 0.0, 0.4, 0.0))
    assert moved[:, :140] == pytest.approx(whole[:, 100:], abs=2e-3)


def test_a_body_whose_light_misses_the_frame_is_not_seen(crystal: Drawer) -> None:
    assert look(FRAME, crystal, 40.0, 0.0, 0.0, 0.0) is None
