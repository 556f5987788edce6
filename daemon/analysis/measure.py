"""From an object's crop to its numbers: outline, shape, thickness and mass. Read `measure` from top to bottom."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from calibration.corrections import Corrections, full_scale
from calibration.objects.mass import FORMULA, Weighed, WeighedObject, weigh, weigh_fused
from calibration.objects.shape import Measure, Shape, ShapeGroup, shape_of
from calibration.objects.thickness import Floats, Heights, Optics, mended
from daemon.dataset.field_file import FieldProvenance
from daemon.records.records import MEASURED, ObjectRow
from daemon.system import crash_points
from daemon.system.errors import last_line
from inference.objects.objects import Box
from inference.objects.outline import RULE, Outline, find_outline
from inference.settings import FocusSettings
from inference.views.channels import CROSSED, Scale
from inference.views.object_focus import StateFocus, state_focus

Pixels = NDArray[np.uint16]
_log = logging.getLogger(__name__)

FORMULAS = {"outline": RULE, "mass": FORMULA}
"""Names of the ways from a crop to its numbers, for provenance."""
SMALLEST_PX = 12
"""Crops with a shorter side are not measured: the filters would see little but their border."""
DEFOCUSED_UM = 0.2
"""Farther from the nearest plane a mass is not told."""
OVERLAPPING_SHARE = 0.05
_UNMEASURED = dict.fromkeys(MEASURED)
NEAR_EDGE_UM = 0.75
"""A detection's box errs by so much: what lies nearer to the frame's edge may be cut."""
SURE_OVERLAPPED = 0.8
"""The outline of a valve that others lie over is doubtful where its weakest part is seen less surely."""
FORBID_MASS = ("cut", "overlapping", "outline_doubtful", "background_disturbed", "defocused", "saturated", "folded")
"""Flags of an object whose mass is not to be used; its size is not where it is cut or its outline doubtful."""
TURNS_NOISES, TURNS_UM = 5.0, 0.02
"""What weighs so many deviations of the noise, and is so thick on average, turns polarized light."""
FULL_SCALES = frozenset(
    full for bits in (8, 10, 12, 14) for full in (full_scale(bits), full_scale(bits) << (16 - bits))
)
"""Where the brightest pixel lies at one of these, the camera has so many bits, be they the lower or the upper ones."""


def measure_all(
    objects: Sequence[tuple[ObjectRow, Pixels, Pixels]], provenance: FieldProvenance, corrections: Corrections
) -> tuple[ObjectRow, ...]:
    """Measure the objects of a field; what was measured before is forgotten.

    One that has a `fault`, or raises an error, which is its fault then, stands there unmeasured.

    Parameters
    ----------
    objects
        of each its numbers, its crop (C, Z, h, w) and its fused crop (C, h, w).
    corrections
        of the camera that exposed them.
    """
    boxes = np.array([row.box for row, _, _ in objects if not row.below_threshold]).reshape(-1, 4)
    brightest = max((int(crop.max()) for _, crop, _ in objects), default=0)
    corrections = dataclasses.replace(corrections, full_dn=_full_dn(corrections.full_dn, provenance.bits, brightest))
    measurer = Measurer(provenance, corrections)

    def measured(row: ObjectRow, crop: Pixels, fused: Pixels) -> ObjectRow:
        if row.fault is not None:
            return replace(row, **_UNMEASURED | {"fault": row.fault})
        try:
            crash_points.reach("measuring", provenance.slide, provenance.field, row.number)
            return measurer.measure(row, crop, fused, overlapping=_overlaps(row.box, boxes))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the field stands
            where = {"slide": provenance.slide, "field": provenance.field, "object": row.number}
            _log.exception("an object cannot be measured", extra=where)
            return replace(row, **_UNMEASURED | {"fault": last_line(error)})

    return tuple(measured(*one) for one in objects)


def _full_dn(known_dn: int, bits: int | None, brightest: int) -> int:
    """DN at which a camera is saturated: as calibrated, as its bits say unless it went beyond, or as pixels show."""
    told_dn = known_dn if bits is None or brightest > full_scale(bits) else full_scale(bits)
    return min({known_dn, told_dn} | (FULL_SCALES & {brightest}))


@dataclass(frozen=True, eq=False)
class Looked:
    """What was seen of one object; None where a state was not exposed, or nothing stood out.

    Attributes
    ----------
    dark
        where it is sharpest in the crossed state.
    bright
        where it is sharpest in the other state.
    outline
        where it ends; points in px of the crop.
    shape
        of that outline.
    weighed
        its thickness and mass in its own plane.
    fused_pg
        mass of its fused crop.
    """

    dark: StateFocus | None
    bright: StateFocus | None
    outline: Outline | None = None
    shape: Shape | None = None
    weighed: Weighed | None = None
    fused_pg: float | None = None


class Measurer:
    """Measures the objects of one field.

    Parameters
    ----------
    provenance
        of the field: its planes, polarizations and pixels.
    corrections
        of the camera that exposed it.
    """

    def __init__(self, provenance: FieldProvenance, corrections: Corrections) -> None:
        states = provenance.polarizations
        self._provenance = provenance
        self._corrections = corrections
        self._pixel_um = corrections.pixel_um or provenance.pixel_um
        self._optics = Optics.of_calcite(corrections.wavelength_um, self._pixel_um)
        self._scale = Scale.of(provenance.pixel_um, FocusSettings().sigma_um)
        self._dark = states.index(CROSSED) if CROSSED in states else None
        self._bright = next((c for c, name in enumerate(states) if name != CROSSED), None)

    def measure(self, row: ObjectRow, crop: Pixels, fused: Pixels, *, overlapping: bool) -> ObjectRow:
        """Measure one object from its crop (C, Z, h, w) and its fused crop (C, h, w).

        Parameters
        ----------
        overlapping
            whether another detection lies over it.
        """
        row = replace(row, **_UNMEASURED | {"cut": row.touches_edge, "overlapping": overlapping})
        if min(crop.shape[2:]) < SMALLEST_PX:
            return row
        told = self._told(row, self.look(row, crop, fused))
        if told.length_um is None:
            return told
        forbidden = any(getattr(told, flag) for flag in FORBID_MASS)
        return replace(
            told,
            usable_for_size=not (told.cut or told.outline_doubtful),
            usable_for_mass=told.mass_pg is not None and not forbidden,
        )

    def look(self, row: ObjectRow, crop: Pixels, fused: Pixels) -> Looked:
        """Find the planes of an object, outline it in them, and weigh it."""
        box = _within(row.box, row.crop_box)
        step_um = self._provenance.step_um
        dark = bright = dark_light = bright_light = lower_light = None
        group = ShapeGroup.of(row.class_name)
        if self._dark is not None:
            dark = state_focus(crop[self._dark], box, self._scale, step_um, dark=True)
            dark_light = self._light(row, crop, self._dark, dark.reference.plane)
        if self._bright is not None:
            bright = state_focus(crop[self._bright], box, self._scale, step_um, dark=False)
            bright_light = self._light(row, crop, self._bright, bright.display.plane)
            # Of the planes of an archive nobody knows whether they lead towards the sample.
            if group is ShapeGroup.DIATOM and bright.lower is not None and not self._provenance.sources:
                lower_light = self._light(row, crop, self._bright, bright.lower)
        outline = find_outline(
            dark_light,
            bright_light,
            box,
            self._pixel_um,
            self._corrections.shift_px,
            convex=group is ShapeGroup.DIATOM,
            lower=lower_light,
        )
        if outline is None:
            return Looked(dark, bright)
        shape = shape_of(outline.points, self._pixel_um, group)
        if shape is None:
            return Looked(dark, bright)
        if self._dark is None or self._bright is None or dark is None:
            return Looked(dark, bright, outline, shape)
        heights = Heights.at(dark.reference.plane, crop.shape[1], step_um)
        sight = WeighedObject(row.crop_box, outline.inside, self._dark, self._bright, _aligned(shape))
        weighed = weigh(crop[:, list(heights.planes)], heights, step_um, sight, self._corrections, self._optics)
        fused_pg = weigh_fused(fused, sight, weighed.leakage, self._corrections, self._optics)
        return Looked(dark, bright, outline, shape, weighed, fused_pg)

    def _light(self, row: ObjectRow, crop: Pixels, state: int, plane: float) -> Floats:
        """Light of the plane nearest to a fractional one, (h, w)."""
        x0, y0, x1, y1 = row.crop_box
        z = min(max(round(plane), 0), crop.shape[1] - 1)
        return mended(self._corrections.light(crop[state, z], state, row.crop_box), self._corrections.bad[y0:y1, x0:x1])

    def _told(self, row: ObjectRow, seen: Looked) -> ObjectRow:
        """Put what was seen of an object into its row."""
        provenance, weighed = self._provenance, seen.weighed
        turns = weighed is not None and _turns_light(weighed)
        focus = seen.dark if turns or seen.bright is None else seen.bright
        assert focus is not None
        plane = focus.reference.plane
        away_um = abs(plane - round(plane)) * provenance.step_um
        # A single plane does not say how far from focus it is.
        single = len(focus.sharpness) == 1
        defocused = None if single else focus.reference.at_edge or away_um > DEFOCUSED_UM
        told = replace(
            row,
            focus_plane=plane,
            focus_z_um=provenance.first_z_um + plane * provenance.step_um,
            focus_by=self._name(focus is seen.dark),
            display_plane=focus.display.plane,
            sharpness=focus.contrast,
            depth_um=focus.depth_um(provenance.step_um),
            defocused=defocused,
        )
        if seen.outline is None or seen.shape is None:
            return told
        outline_by, group = self._name(seen.outline.dark), ShapeGroup.of(row.class_name)
        told = replace(
            told,
            outline_by=outline_by,
            outline_clipped=seen.outline.clipped,
            outline_doubtful=seen.outline.doubtful
            or (row.overlapping and group is ShapeGroup.DIATOM and seen.outline.weakest < SURE_OVERLAPPED)
            or self._near_edge(row.box),
            **asdict(seen.shape),
        )
        if weighed is None:
            return told
        return replace(
            told,
            thickness_mean_um=weighed.mean_um,
            thickness_max_um=weighed.greatest_um,
            volume_um3=weighed.volume_um3,
            calcite_equivalent_pg=weighed.equivalent_pg,
            calcite_equivalent_deviation_pg=weighed.deviation_pg,
            calcite_equivalent_fused_pg=seen.fused_pg,
            mass_pg=weighed.equivalent_pg if row.class_name == ShapeGroup.COCCOLITH and not defocused else None,
            leakage=weighed.leakage,
            background_disturbed=weighed.disturbed,
            saturated=weighed.saturated,
            folded=weighed.folded,
        )

    def _near_edge(self, box: Box) -> bool:
        height, width = self._provenance.shape_czyx[2:]
        return min(box[0], box[1], width - box[2], height - box[3]) < NEAR_EDGE_UM / self._pixel_um

    def _name(self, dark: bool) -> str | None:
        channel = self._dark if dark else self._bright
        return None if channel is None else self._provenance.polarizations[channel]


def _within(box: Box, crop_box: Box) -> Box:
    """Give a box of the frame in px of a crop."""
    left, top = crop_box[:2]
    return box[0] - left, box[1] - top, box[2] - left, box[3] - top


def _overlaps(box: Box, others: NDArray[np.int64]) -> bool:
    """Whether any other of some boxes (N, 4) covers a part of one."""
    across = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    down = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    shares = np.maximum(across, 0) * np.maximum(down, 0) / ((box[2] - box[0]) * (box[3] - box[1]))
    itself = (others == np.array(box)).all(axis=1)
    return bool((shares[~itself] > OVERLAPPING_SHARE).any())


def _aligned(shape: Shape) -> float:
    """Share of an object's crystals that point one way: of an elliptic ring of radial ones how flat it is, else all."""
    if shape.length_by is not Measure.DISTAL_SHIELD:
        return 1.0
    return (shape.length_um - shape.width_um) / (shape.length_um + shape.width_um)


def _turns_light(weighed: Weighed) -> bool:
    return weighed.equivalent_pg > TURNS_NOISES * weighed.noise_pg and weighed.mean_um > TURNS_UM
