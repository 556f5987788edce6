"""How focus follows a mini-slide: from the results of earlier fields to the z of the next; deterministic and pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.images.focus import Expected, Plane, fit_plane
from daemon.config.model import Focus, NightConfig
from daemon.planning.focus_bounds import CLEARANCE_UM
from daemon.records.fields import PlannedField
from daemon.records.records import FocusResult
from drivers.settings import MiniSlide, Range

Known = tuple[PlannedField, FocusResult]
"""A field of the mini-slide, and where it was in focus."""

LOST = 3
"""Results in a row at the stack's first or last plane after which following is given up for a search."""


@dataclass(frozen=True)
class FocusFollower:
    """Predicts the z of a mini-slide's fields; every method is a function of its arguments alone.

    `results` are those of one mini-slide in the order of the fields. The caller passes the results of fields up to n-2,
    and that of a search as a result of the field it was made on, known at once. All z are that of the stack's middle.
    """

    settings: Focus
    window_um: Range
    half_stack_um: float

    @classmethod
    def of(cls, config: NightConfig, slide: MiniSlide) -> FocusFollower:
        """Make the follower of one mini-slide of a night."""
        return cls(config.focus, slide.z_window_um, (config.scan.planes - 1) / 2 * config.scan.step_um)

    def z_for(self, field: PlannedField, results: Sequence[Known], start_z: float) -> float:
        """Predicted z of `field`, um; `start_z` where there is no result to go by. Stays `within`.

        One result alone moves a prediction that the others vouch for by `max_step_um` at most.
        """
        usable = self._usable(results)
        z = self._predict(field, usable, start_z)
        if usable and not self._unsure(field, usable[:-1]):
            before = self._predict(field, usable[:-1], start_z)
            z = before + math.copysign(min(abs(z - before), self.settings.max_step_um), z - before)
        # Whole nanometres, so that the last bits of another mathematics library command nothing else.
        return self.within(round(z, 3))

    def needs_search(self, field: PlannedField, results: Sequence[Known]) -> bool:
        """Whether focus must be searched before `field`: nothing known near enough, or the mini-slide is lost."""
        usable = self._usable(results)
        newest = usable[-LOST:]
        return self._unsure(field, usable) or (len(newest) == LOST and all(result.at_edge for _, result in newest))

    def leaves_slide(self, results: Sequence[Known]) -> bool:
        """Whether so many fields in a row were blank, or in focus outside their stack, that the mini-slide is left."""
        newest = results[-self.settings.blank_fields_leave_slide :]
        return len(newest) == self.settings.blank_fields_leave_slide and all(
            r.z_um is None or r.at_edge for _, r in newest
        )

    def within(self, z_um: float) -> float:
        """Return the nearest z whose whole stack lies inside the mini-slide's window."""
        spare = self.half_stack_um + CLEARANCE_UM
        return float(min(max(z_um, self.window_um.low + spare), self.window_um.high - spare))

    def _usable(self, results: Sequence[Known]) -> list[Known]:
        """Pick the last `memory` results that say something: neither blank nor outside the window."""
        usable = [(f, r) for f, r in results if r.z_um is not None and self.window_um.holds(r.z_um)]
        return usable[-self.settings.memory :]

    def _plane(self, inside: Sequence[Known]) -> Plane:
        points = np.array([(f.x_um, f.y_um, r.z_um, f.field) for f, r in inside], dtype=np.float64)
        settings = self.settings
        return fit_plane(points, Expected(settings.tilt_um_per_mm, settings.drift_um_per_field, settings.noise_um))

    def _unsure(self, field: PlannedField, usable: Sequence[Known]) -> bool:
        """Whether the prediction's error may well leave the stack: two standard deviations beyond half of it."""
        inside = [known for known in usable if not known[1].at_edge]
        if not inside:
            return True
        return 2 * self._plane(inside).uncertainty(field.x_um, field.y_um, field.field) > self.half_stack_um

    def _predict(self, field: PlannedField, usable: Sequence[Known], start_z: float) -> float:
        inside = [known for known in usable if not known[1].at_edge]
        if inside:
            plane = self._plane(inside)
            z = plane.predict(field.x_um, field.y_um, field.field)
        else:
            plane, z = None, start_z
        edges = []
        for f, r in reversed(usable):
            if not r.at_edge:
                break
            edges.append((r.z_um or 0.0) - (plane.predict(f.x_um, f.y_um, f.field) if plane else start_z))
        if edges:
            # Focus lies beyond the farthest edge seen: the next stack begins half its half-range before that edge.
            farthest = max(edges, key=abs)
            z += farthest + math.copysign(self.half_stack_um / 2, farthest)
        return z
