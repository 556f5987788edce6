"""Where the objective and the sample may go: the stage's travel, and the z window of the open mini-slide."""

from __future__ import annotations

from collections.abc import Sequence

from drivers.errors import OutsideWindow
from drivers.microscope import Sweep
from drivers.settings import Instrument, MiniSlide, Range


class Limits:
    """Refuses positions before they are sent to the hardware.

    Parameters
    ----------
    instrument
        its travel and its backlash.
    slides
        the mini-slides that may be opened.
    """

    def __init__(self, instrument: Instrument, slides: Sequence[MiniSlide]) -> None:
        self._travel = instrument.travel
        self._backlash_um = instrument.motion.z_backlash_um
        self._slides = {slide.position: slide for slide in slides}
        self._open: MiniSlide | None = None

    @property
    def open_slide(self) -> int | None:
        """Position of the open mini-slide."""
        return self._open.position if self._open else None

    def known(self, slide: int) -> MiniSlide:
        """Mini-slide at a position of the holder."""
        if slide not in self._slides:
            raise OutsideWindow(f"mini-slide {slide} is not among {sorted(self._slides)}; open one of those")
        return self._slides[slide]

    def open(self, slide: int) -> None:
        """Make a mini-slide the one whose window is enforced."""
        self._open = self.known(slide)

    def check_xy(self, x_um: float, y_um: float, withdrawn: bool) -> None:
        """Refuse a stage position outside the travel or, unless the objective is withdrawn, off the open mini-slide."""
        _check("x", x_um, self._travel.x_um, "the stage's travel")
        _check("y", y_um, self._travel.y_um, "the stage's travel")
        if withdrawn:
            return
        slide = self._opened("move at working height")
        for axis, value, centre, size in zip(
            "xy", (x_um, y_um), slide.centre_um, slide.size_um, strict=True
        ):  # immersion oil and the objective must not meet the rim of a mini-slide
            span = Range(low=centre - size / 2, high=centre + size / 2)
            _check(axis, value, span, f"mini-slide {slide.position}, with the objective not withdrawn")

    def check_z(self, z_um: float) -> None:
        """Refuse a height outside the travel or the window of the open mini-slide."""
        slide = self._opened("focus")
        _check("z", z_um, self._travel.z_um, "the stage's travel")
        _check("z", z_um, slide.z_window_um, f"the z window of mini-slide {slide.position}")

    def check_sweep(self, sweep: Sweep) -> None:
        """Refuse a sweep of which a plane, or the height from which it is approached from above, lies outside."""
        self.check_z(sweep.first_z_um)
        self.check_z(sweep.first_z_um + (sweep.planes - 1) * sweep.step_um)
        if sweep.step_um < 0:
            self.check_z(self.approach_z(sweep))

    def approach_z(self, sweep: Sweep) -> float:
        """Height from which the first plane of a sweep is approached: from below, unless the sweep goes down."""
        if sweep.step_um < 0:
            return sweep.first_z_um + self._backlash_um
        return self.below_z(sweep.first_z_um)

    def below_z(self, z_um: float) -> float:
        """Height further from the sample from which `z_um` is approached."""
        return max(z_um - self._backlash_um, self._travel.z_um.low)

    def _opened(self, purpose: str) -> MiniSlide:
        if self._open is None:
            raise OutsideWindow(f"no mini-slide is open, so nothing may {purpose}; open one first")
        return self._open


def _check(axis: str, value: float, span: Range, where: str) -> None:
    if not span.holds(value):
        raise OutsideWindow(
            f"{axis} of {value:.2f} um lies outside {where}, {span.low:g} to {span.high:g} um; nothing was moved"
        )
