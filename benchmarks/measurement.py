"""How right lengths, masses, planes and their uncertainties are, on emulated fields whose specimens no rule was set on.

python -m benchmarks.measurement [--profile NAME ...] [--leakage SHARE ...] [--fields N] [--seed S] [--collection C]
                                 [--stacks DIR] [--json FILE]

Objects are detected by the shipped weights and matched to the truth by their boxes. `perfect` rows have the corrections
that a perfect calibration would give, taken from the emulator's settings; `assumed` rows have none. A row of a kind
holds its whole, unbroken objects in focus that measuring itself does not flag as disturbed; `all` those it does, too.
`optics` is the mass over that of the same object rendered alone, without noise, through the same optics.
Stacks are kept in DIR, if given, and used again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow.parquet as pq
import tifffile
from msgspec.structs import replace
from numpy.typing import NDArray

from calibration.corrections import Corrections
from daemon.analysis.field_output import object_rows
from daemon.analysis.measure import Measurer
from daemon.calibration_store.corrections import corrections_of_field
from daemon.config.loading import load
from daemon.config.model import NightConfig
from daemon.dataset.field_file import FieldProvenance
from daemon.emulation.export import export, override
from daemon.records.records import ObjectRow
from drivers.virtual_slide.optics.camera import DN_PER_ELECTRON, LAMP_DN_PER_MS, READ_NOISE_DN, Camera
from drivers.virtual_slide.optics.illumination import Illumination
from drivers.virtual_slide.optics.polarizers import CROSSED, PARALLEL, PolarizedLight, Polarizers
from drivers.virtual_slide.scene import FramePlace, Scene, look
from drivers.virtual_slide.slide import cabinet_of
from inference.analyser import Analyser
from inference.objects.merging import overlaps
from inference.objects.objects import FoundObject

CONFIG = Path(__file__).parents[1] / "configs" / "emulated.yaml"
SLIDES = (2, 5)
PLANES, STEP_UM = 15, 0.3
SEED, COLLECTION = 9601, 96
MATCHED = 0.5
INSIDE_PLANES = 1.0
"""So far from the stack's first and last plane an object counts as in focus."""
BINS_UM = (0.05, 0.10, 0.151)
WITHIN = 1.96
KINDS = ("emiliania", "gephyrocapsa", "coccolithus", "florisphaera")
Truth = dict[str, Any]


class Pair(NamedTuple):
    """A measured object, what it truly is, and its mass without noise through the same optics (NaN: not asked)."""

    row: ObjectRow
    true: Truth
    optics_pg: float


class Line(NamedTuple):
    """Figures of a kind of object; errors of lengths and masses are shares but where they are in um."""

    name: str
    objects: int
    length_bias: float
    length_median: float
    length_p95: float
    length_median_um: float
    length_p95_um: float
    mass_bias: float
    mass_median: float
    optics_bias: float
    covered: float
    covered_by_defocus: tuple[float, ...]
    plane_median_um: float
    plane_p95_um: float


def world(profile: str, leakage: float, seed: int, collection: int) -> NightConfig:
    """Set an emulated night's profile, its planes 0.3 um apart, and a leakage of the crossed state."""
    config = override(load(CONFIG), None, seed=seed, collection=collection, profile=profile)
    emulation = config.instrument.emulation
    assert emulation is not None
    coherent = leakage_of(config, coherent=True)
    errors = emulation.polarizers.model_copy(update={"depolarised": max(leakage - coherent, 0.0)})
    instrument = config.instrument.model_copy(update={"emulation": emulation.model_copy(update={"polarizers": errors})})
    scan = config.scan.model_copy(update={"planes": PLANES, "step_um": STEP_UM})
    return config.model_copy(update={"instrument": instrument, "scan": scan})


def leakage_of(config: NightConfig, *, coherent: bool) -> float:
    """Crossed over parallel light of an empty field, with or without what is depolarised."""
    assert config.instrument.emulation is not None
    errors = config.instrument.emulation.polarizers
    errors = errors.model_copy(update={"depolarised": 0.0}) if coherent else errors
    light = PolarizedLight((8, 8), Polarizers.of(errors))
    return light.empty(CROSSED) / light.empty(PARALLEL)


def perfect(config: NightConfig) -> Corrections:
    """Give what a perfect calibration would say of the emulated camera."""
    emulation, frame_px = config.instrument.emulation, config.instrument.frame_px
    assert emulation is not None
    illumination = Illumination(frame_px, config.instrument.pixel_um, emulation.lamp, emulation.seed)
    camera = Camera(frame_px, emulation.sensor, emulation.seed, illumination)
    # Private: nobody but a benchmark may know what a calibration has to find out.
    bad = np.zeros(frame_px, np.bool_)
    bad[camera._hot] = True
    return Corrections(
        offset_dn=np.broadcast_to(camera._offset, frame_px).astype(np.float32),
        flat=np.stack([camera._response[state == CROSSED] for state in config.scan.polarizations]).astype(np.float32),
        bad=bad,
        exposures_ms=tuple(config.instrument.polarizations[state].exposure_ms for state in config.scan.polarizations),
        ratio=1.0,
        shift_px=emulation.polarizers.shift_px,
        leakage=leakage_of(config, coherent=False),
        leakage_deviation=leakage_of(config, coherent=True),
        dn_per_electron=DN_PER_ELECTRON,
        read_noise_dn=READ_NOISE_DN,
        full_dn=(1 << emulation.sensor.bits) - 1,
        records=("a perfect calibration",),
        wavelength_um=emulation.mounting.wavelength_nm / 1000,
    )


def provenance_of(config: NightConfig, shape: tuple[int, ...], exposures_ms: tuple[float, ...]) -> FieldProvenance:
    """Describe a stack as measuring has to know it."""
    c, z, y, x = shape
    return FieldProvenance(
        night="", slide=0, field=0, sample="", x_um=0.0, y_um=0.0, first_z_um=0.0, step_um=STEP_UM,
        pixel_um=config.instrument.pixel_um, polarizations=config.scan.polarizations, exposures_ms=exposures_ms,
        shape_czyx=(c, z, y, x), exposed_utc=0.0, focus=None, instrument="", configuration_sha256="",
        weights_sha256="", versions={},
    )  # fmt: skip


def fields_of(config: NightConfig, folder: Path, fields: int) -> Iterator[tuple[NDArray[np.uint16], list[Truth]]]:
    """Export fields, unless they are there; give their stacks and what lies in each."""
    table = folder / "truth.parquet"
    if not table.exists():
        export(config, folder, SLIDES, fields)
    rows = pq.read_table(table).to_pylist()
    for stack in sorted({row["stack"] for row in rows}):
        yield tifffile.imread(folder / stack), [row for row in rows if row["stack"] == stack]


def matched(objects: Sequence[FoundObject], truth: Sequence[Truth]) -> list[Truth | None]:
    """Say what each found object truly is; None where nothing fits."""
    boxes = np.array([[true[f"box_{corner}"] for corner in ("x0", "y0", "x1", "y1")] for true in truth], np.float32)
    fits = [overlaps(np.array(found.box, np.float32), boxes) for found in objects]
    return [truth[int(fit.argmax())] if fit.max() > MATCHED else None for fit in fits]


class Alone:
    """Renders single objects of a collection without noise, and measures them."""

    def __init__(self, config: NightConfig) -> None:
        assert config.instrument.emulation is not None
        self._config = config
        self._cabinet = cabinet_of(config.instrument.emulation)
        self._polarizers = Polarizers.of(config.instrument.emulation.polarizers)

    def mass_pg(self, row: ObjectRow, true: Truth) -> float:
        """Mass of the object alone in the place and the planes where it was seen."""
        x0, y0, x1, y1 = row.crop_box
        size, pixel_um = (y1 - y0, x1 - x0), self._config.instrument.pixel_um
        frame = FramePlace(0.0, 0.0, size, pixel_um)
        drawer = self._cabinet.drawer(true["kind"], true["variant"])
        there = np.array(true["outline"]).mean(axis=0) - (x0, y0)
        here = frame.points(drawer.card.outline_um, 0.0, 0.0, true["angle"]).mean(axis=0)
        x_um, y_um = ((there - here) * pixel_um).tolist()
        seen = look(frame, drawer, x_um, y_um, true["angle"], 0.0)
        assert seen is not None
        scene, polarized = Scene([seen], frame), PolarizedLight(size, self._polarizers)
        exposures_ms = (20.0, 20.0)
        light, stack = np.empty(size, np.float32), np.empty((2, PLANES, *size), np.uint16)
        for c, state in enumerate(self._config.scan.polarizations):
            for z in range(PLANES):
                scene.draw(light, state, (z - true["plane"]) * STEP_UM, polarized)
                stack[c, z] = np.rint(light * LAMP_DN_PER_MS * exposures_ms[c])
        provenance = provenance_of(self._config, stack.shape, exposures_ms)
        box = (row.box[0] - x0, row.box[1] - y0, row.box[2] - x0, row.box[3] - y0)
        own = replace(row, box=box, crop_box=(0, 0, x1 - x0, y1 - y0))
        told = Measurer(provenance, corrections_of_field(provenance, None)).measure(
            own, stack, stack[:, 0], overlapping=False
        )
        return np.nan if told.calcite_equivalent_pg is None else told.calcite_equivalent_pg


def measured(config: NightConfig, folder: Path, fields: int) -> tuple[dict[str, list[Pair]], tuple[int, float]]:
    """Detect and measure; pairs with perfect and with assumed corrections, and objects and seconds it took."""
    pixel_um, states = config.instrument.pixel_um, config.scan.polarizations
    analyser = Analyser(config.detector, config.crops, config.focus, pixel_um, states)
    known, alone = perfect(config), Alone(config)
    pairs: dict[str, list[Pair]] = {"perfect": [], "assumed": []}
    count, spent_s = 0, 0.0
    for stack, truth in fields_of(config, folder, fields):
        objects = [found for found in analyser.analyse(stack).objects if not found.below_threshold]
        trues = matched(objects, truth)
        provenance = provenance_of(config, stack.shape, known.exposures_ms)
        for name, corrections in (("perfect", known), ("assumed", corrections_of_field(provenance, None))):
            begun_s = time.process_time()
            rows = object_rows(objects, provenance, corrections)
            if name == "perfect":
                count, spent_s = count + len(rows), spent_s + time.process_time() - begun_s
            for row, true in zip(rows, trues, strict=True):
                if true is not None and counts(row, true):
                    asked = name == "perfect" and true["kind"] in KINDS and is_clean(row)
                    pairs[name].append(Pair(row, true, alone.mass_pg(row, true) if asked else np.nan))
    return pairs, (count, spent_s)


def counts(row: ObjectRow, true: Truth) -> bool:
    """Whether an object is whole, unbroken, and in focus within the stack."""
    plane = true["plane"]
    whole = true["whole"] and not row.cut and not true["fragment"] and not true["buried"]
    return whole and INSIDE_PLANES <= plane <= PLANES - 1 - INSIDE_PLANES and row.length_um is not None


def is_clean(row: ObjectRow) -> bool:
    """Whether measuring itself sees nothing that disturbs it."""
    flags = row.overlapping, row.outline_clipped, row.background_disturbed, row.defocused, row.saturated, row.folded
    return not any(flags)


def line_of(name: str, pairs: Sequence[Pair]) -> Line:
    """Sum up some pairs."""
    true_um = np.array([pair.true["length_um"] for pair in pairs])
    length = np.array([pair.row.length_um for pair in pairs], float) / true_um - 1
    visible = np.array([pair.true["visible_mass_pg"] or np.nan for pair in pairs], float)
    mass = np.array([pair.row.calcite_equivalent_pg for pair in pairs], float)
    deviation = np.array([pair.row.calcite_equivalent_deviation_pg for pair in pairs], float)
    covered = np.abs(mass - visible) <= WITHIN * deviation
    plane = np.array([pair.row.focus_plane for pair in pairs], float)
    off_um = np.abs(plane - [pair.true["plane"] for pair in pairs]) * STEP_UM
    defocus_um = np.abs(plane - np.rint(plane)) * STEP_UM
    in_bins = np.searchsorted(BINS_UM, defocus_um)
    weighed = np.isfinite(mass / visible)

    def share(of: NDArray[np.bool_]) -> float:
        return float(covered[of & weighed].mean()) if (of & weighed).any() else np.nan

    def median(values: NDArray[np.float64]) -> float:
        finite = values[np.isfinite(values)]
        return float(np.median(finite)) if finite.size else np.nan

    return Line(
        name=name,
        objects=len(pairs),
        length_bias=median(length),
        length_median=median(np.abs(length)),
        length_p95=float(np.percentile(np.abs(length), 95)),
        length_median_um=median(np.abs(length * true_um)),
        length_p95_um=float(np.percentile(np.abs(length * true_um), 95)),
        mass_bias=median(mass / visible - 1),
        mass_median=median(np.abs(mass / visible - 1)),
        optics_bias=median(mass / np.array([pair.optics_pg for pair in pairs]) - 1),
        covered=share(weighed),
        covered_by_defocus=tuple(share(in_bins == number) for number in range(len(BINS_UM))),
        plane_median_um=median(off_um),
        plane_p95_um=float(np.percentile(off_um, 95)),
    )


def lines_of(pairs: Sequence[Pair]) -> Iterator[Line]:
    """Sum up each kind, clean objects and all of them."""
    kinds = sorted(
        {pair.true["kind"] for pair in pairs if not pair.true["junk"]}, key=lambda kind: (kind not in KINDS, kind)
    )
    for kind in kinds:
        own = [pair for pair in pairs if pair.true["kind"] == kind]
        clean = [pair for pair in own if is_clean(pair.row)]
        if clean:
            yield line_of(kind, clean)
        if len(clean) < len(own):
            yield line_of(f"{kind}, all", own)


def show(line: Line) -> None:
    """Print one row."""
    bins = " ".join("  -" if np.isnan(share) else f"{share:3.0%}" for share in line.covered_by_defocus)
    print(
        f"{line.name:<24}{line.objects:>4} {line.length_bias:>+7.1%}{line.length_median:>6.1%}{line.length_p95:>7.1%}"
        f"{line.length_median_um:>7.3f}{line.length_p95_um:>7.3f} {line.mass_bias:>+8.1%}{line.mass_median:>7.1%}"
        f"{line.optics_bias:>+8.1%} {line.covered:>6.0%}  {bins:<14}"
        f"{line.plane_median_um:>6.3f}{line.plane_p95_um:>7.3f}"
    )


def main() -> None:
    """Export, detect, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", action="append", choices=("coccolith", "easy", "reference"))
    parser.add_argument("--leakage", action="append", type=float)
    parser.add_argument("--fields", type=int, default=6, help="fields a mini-slide")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--collection", type=int, default=COLLECTION)
    parser.add_argument("--stacks", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    results: dict[str, list[Line]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for leakage in given.leakage or (0.001, 0.01):
            pairs: dict[str, list[Pair]] = {"perfect": [], "assumed": []}
            for number, profile in enumerate(given.profile or ("coccolith", "easy")):
                config = world(profile, leakage, given.seed + number, given.collection)
                folder = (given.stacks or Path(scratch)) / f"{profile}-{given.collection}-{leakage:g}"
                told, (count, spent_s) = measured(config, folder, given.fields)
                pairs = {name: pairs[name] + told[name] for name in pairs}
                print(f"{profile}: {count} objects measured in {spent_s:.2f} s of processor time, "
                      f"300 in {300 * spent_s / max(count, 1):.2f} s")  # fmt: skip
            for name in pairs:
                print(f"\nleakage {leakage:.1%}, {name} corrections")
                print(f"{'':<24}{'n':>4} {'L bias':>7}{'|.|':>6}{'p95':>7}{'um':>7}{'p95':>7} {'M bias':>8}{'|.|':>7}"
                      f"{'optics':>8} {'95 %':>6}  {'by defocus':<14}{'plane':>6}{'p95':>7}")  # fmt: skip
                results[f"{name} {leakage:g}"] = list(lines_of(pairs[name]))
                for line in results[f"{name} {leakage:g}"]:
                    show(line)
    if given.json:
        plain = {name: [line._asdict() for line in lines] for name, lines in results.items()}
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(plain)))


if __name__ == "__main__":
    main()
