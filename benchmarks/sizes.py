"""How true the sizes are that are offered, by class, on emulated fields whose specimens no rule was set on.

python -m benchmarks.sizes [--profile NAME ...] [--density D ...] [--collection C ...] [--seed S] [--fields N]
                           [--stacks DIR] [--json FILE] [--before FILE]

Fields of all profiles, 2048 x 2048 px, 2 x 9 planes 0.5 um apart as a night has by itself, are detected by the shipped
weights, measured without a calibration and matched to the truth by their boxes. True sizes are Feret diameters of the
true outline; of diatoms without bristles and horns thinner than 0.7 um, of silicoflagellates without spines. Whole are
objects that are unbroken, not buried, wholly in the frame; untouched those too that nothing overlaps. A gross error is
one of more than 25 %. Means and the 90th percentile are lengths offered of untouched ones beside the true ones of all
untouched, and (`all`) the mean of those offered of whole ones, overlapped or not, beside that of all of them.

Stacks are kept in DIR, if given, and used again. `--json` keeps the figures; `--before` prints those of an older
version beside them. A version that does not say what a size may be used for offers the sizes of objects without a flag.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.measurement import CONFIG, fields_of, matched
from daemon.analysis.field_output import object_rows
from daemon.calibration_store.corrections import corrections_of_field
from daemon.config.loading import load
from daemon.config.model import NightConfig
from daemon.counts.objects import DISTURBED
from daemon.dataset.field_file import FieldProvenance
from daemon.emulation.export import override
from daemon.records.records import ObjectRow
from inference.analyser import Analyser

PROFILES = ("coccolith", "easy", "mixed", "reference", "trap")
FRAME_PX = (2048, 2048)
SEED, COLLECTIONS, DENSITIES = 41401, (414,), (1.0, 0.3)
GROSS = 0.25
BRISTLE_UM = 0.7
SPINE_SHARE = 0.3
"""Radius of the disc that a ring holds and its spines do not, over that of the greatest disc within it."""
FINE_PX = 1200.0
"""Length of a true outline as it is drawn to take its spines off."""
Truth = dict[str, Any]


class Sized(NamedTuple):
    """A measured object and what it truly is."""

    row: ObjectRow
    true: Truth
    diagonal_um: float


class Line(msgspec.Struct, frozen=True):
    """Figures of one class; shares and relative errors as fractions, None where there is nothing to tell of."""

    name: str
    objects: int
    usable: int
    gross_length: int
    gross_width: int
    gross: int
    others_gross: int
    whole: int
    whole_usable: float | None
    untouched: int
    untouched_usable: float | None
    mean: float | None
    percentile_90: float | None
    median_um: float | None
    beyond_diagonal: int
    whole_mean: float | None = None


def sized(config: NightConfig, folder: Path, fields: int) -> Iterator[Sized]:
    """Detect, measure and match."""
    instrument, scan = config.instrument, config.scan
    analyser = Analyser(config.detector, config.crops, config.focus, instrument.pixel_um, scan.polarizations)
    for stack, truth in fields_of(config, folder, fields):
        c, z, y, x = stack.shape
        provenance = FieldProvenance(
            night="", slide=0, field=0, sample="", x_um=0.0, y_um=0.0, first_z_um=0.0, step_um=scan.step_um,
            pixel_um=instrument.pixel_um, polarizations=scan.polarizations, exposures_ms=(20.0, 20.0),
            shape_czyx=(c, z, y, x), exposed_utc=0.0, focus=None, instrument="", configuration_sha256="",
            weights_sha256="", versions={},
        )  # fmt: skip
        objects = [found for found in analyser.analyse(stack).objects if not found.below_threshold]
        rows = object_rows(objects, provenance, corrections_of_field(provenance, None))
        for row, true in zip(rows, matched(objects, truth), strict=True):
            if true is not None:
                x0, y0, x1, y1 = row.box
                yield Sized(
                    row, sized_truth(true, instrument.pixel_um), np.hypot(x1 - x0, y1 - y0) * instrument.pixel_um
                )


def sized_truth(true: Truth, pixel_um: float) -> Truth:
    """Give what is true of an object the size that its measure asks for."""
    outline = np.array(true["outline"])
    if true["class_name"] in ("diatom", "silicoflagellate"):
        outline = _opened(outline, true["class_name"] == "diatom", pixel_um)
    turn = np.linspace(0, np.pi, 361)[:-1]
    extents = np.ptp(outline @ np.stack([np.cos(turn), np.sin(turn)]), axis=0) * pixel_um
    return true | {"length_um": float(extents.max()), "width_um": float(extents.min())}


def _opened(outline: NDArray[np.float64], bristles: bool, pixel_um: float) -> NDArray[np.float64]:
    scale = FINE_PX / float(np.ptp(outline, axis=0).max())
    drawn = (outline - outline.min(axis=0)) * scale + 4
    image = np.zeros(np.ceil(drawn.max(axis=0)).astype(int)[::-1] + 8, np.uint8)
    cv2.fillPoly(image, [np.rint(drawn * 16).astype(np.int32)], 1, shift=4)
    reach = BRISTLE_UM / 2 / pixel_um * scale
    if not bristles:
        reach = SPINE_SHARE * float(cv2.distanceTransform(image, cv2.DIST_L2, 5).max())
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(reach) + 1, 2 * round(reach) + 1))
    opened = np.asarray(cv2.morphologyEx(image, cv2.MORPH_OPEN, disc), np.uint8)
    parts = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    return np.asarray(max(parts, key=cv2.contourArea)[:, 0] / scale) if parts else outline


def offered(row: ObjectRow) -> bool:
    """Whether the size of an object is offered for use."""
    told = getattr(row, "usable_for_size", None)
    if told is not None:
        return bool(told)
    return row.length_um is not None and not row.cut and not any(getattr(row, flag, None) for flag in DISTURBED)


def wrong(one: Sized, measure: str) -> bool:
    """Whether a length or a width errs grossly, or there is none."""
    value = getattr(one.row, measure)
    return value is None or abs(value / one.true[measure] - 1) > GROSS


def _any_wrong(one: Sized) -> bool:
    return wrong(one, "length_um") or wrong(one, "width_um")


def line_of(name: str, own: Sequence[Sized]) -> Line:
    """Sum up a class."""
    used = [one for one in own if offered(one.row)]
    rest = [one for one in own if not offered(one.row)]
    whole = [one for one in own if _is_whole(one.true, name)]
    untouched = [one for one in whole if not one.true["touching"]]
    there = [one for one in untouched if offered(one.row)]
    lengths = np.array([one.true["length_um"] for one in untouched])
    told = np.array([one.row.length_um for one in there], float)
    error = np.abs(told - [one.true["length_um"] for one in there])
    nothing, kept = not there, [one.row.length_um for one in whole if offered(one.row)]
    whole_length = float(np.mean([one.true["length_um"] for one in whole] or [np.nan]))
    return Line(
        name=name,
        objects=len(own),
        usable=len(used),
        gross_length=sum(wrong(one, "length_um") for one in used),
        gross_width=sum(wrong(one, "width_um") for one in used),
        gross=sum(map(_any_wrong, used)),
        others_gross=sum(map(_any_wrong, rest)),
        whole=len(whole),
        whole_usable=float(np.mean([offered(one.row) for one in whole])) if whole else None,
        untouched=len(untouched),
        untouched_usable=len(there) / len(untouched) if untouched else None,
        mean=None if nothing else float(told.mean() / lengths.mean() - 1),
        percentile_90=None if nothing else float(np.percentile(told, 90) / np.percentile(lengths, 90) - 1),
        median_um=None if nothing else float(np.median(error)),
        beyond_diagonal=sum(bool(_feret(one.row) > one.diagonal_um) for one in used),
        whole_mean=float(np.mean(np.array(kept, float))) / whole_length - 1 if kept else None,
    )


def _is_whole(true: Truth, name: str) -> bool:
    return bool(true["whole"] and not true["fragment"] and not true["buried"] and true["class_name"] == name)


def _feret(row: ObjectRow) -> float:
    feret = getattr(row, "feret_um", None)
    return (feret if feret is not None else row.length_um) or 0.0


def show(line: Line, version: str) -> None:
    """Print one row."""

    def told(value: float | None, form: str, width: int) -> str:
        return f"{'-' if value is None else format(value, form):>{width}}"

    print(
        f"{line.name:<17}{version:<7}{line.objects:>5}{line.usable:>7}{line.gross_length:>5}{line.gross_width:>4}"
        f"{line.gross / max(line.usable, 1):>7.1%}{line.others_gross:>6}{line.whole:>6}"
        f"{told(line.whole_usable, '.0%', 6)}{line.untouched:>6}{told(line.untouched_usable, '.0%', 6)}"
        f"{told(line.mean, '+.1%', 8)}{told(line.percentile_90, '+.1%', 8)}{told(line.median_um, '.3f', 8)}"
        f"{line.beyond_diagonal:>6}{told(line.whole_mean, '+.1%', 8)}"
    )


def main() -> None:
    """Export, detect, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", action="append", choices=PROFILES)
    parser.add_argument("--density", action="append", type=float)
    parser.add_argument("--collection", action="append", type=int)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--fields", type=int, default=2, help="fields a mini-slide")
    parser.add_argument("--stacks", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--before", type=Path)
    given = parser.parse_args()
    everything: list[Sized] = []
    with tempfile.TemporaryDirectory() as scratch:
        for collection, profile, density in product(
            given.collection or COLLECTIONS, given.profile or PROFILES, given.density or DENSITIES
        ):
            seed = given.seed + 10 * PROFILES.index(profile) + round(10 * density)
            config = override(load(CONFIG), None, seed=seed, collection=collection, profile=profile, density=density)
            instrument = config.instrument.model_copy(update={"frame_px": FRAME_PX})
            config = config.model_copy(update={"instrument": instrument})
            folder = (given.stacks or Path(scratch)) / f"{profile}-{collection}-{density:g}"
            everything += sized(config, folder, given.fields)
    names = sorted({one.row.class_name for one in everything})
    lines = [line_of(name, [one for one in everything if one.row.class_name == name]) for name in names]
    before = msgspec.json.decode(given.before.read_bytes(), type=list[Line]) if given.before else []
    print(f"{'':<24}{'all':>5}{'usable':>7}{'L':>5}{'W':>4}{'gross':>7}{'rest':>6}{'whole':>6}{'us.':>6}{'free':>6}"
          f"{'us.':>6}{'mean':>8}{'p90':>8}{'|L| um':>8}{'diag':>6}{'all':>8}")  # fmt: skip
    for line in lines:
        for other in (one for one in before if one.name == line.name):
            show(other, "before")
        show(line, "now")
    if given.json:
        given.json.write_bytes(msgspec.json.encode(lines))


if __name__ == "__main__":
    main()
