"""One field, and one object of it, as their pages show them: what was recorded, and measured, named and said later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from daemon.counts.called import name_of
from daemon.counts.taxa import taxonomy_of
from daemon.dataset.exclusions import FieldStanding, standing_exclusions
from daemon.dataset.later_tables import objects_table
from daemon.dataset.objects_table import object_values
from daemon.dataset.reader import Dataset
from daemon.dataset.summary import JudgedSummary
from daemon.records.names import picture_file
from daemon.records.objects import ObjectName
from daemon.records.records import FieldSecured, FieldSkipped
from daemon.report import words
from daemon.report.objects import WORDS
from daemon.view.nights import ShownNight
from daemon.view.objects import ObjectIndex, ShownPlace, standing_of_object
from inference.wording import MICROMETRE, fixed, with_deviation

GROUPS = {
    "Size": (
        "length_um", "width_um", "feret_um", "arc_length_um", "area_um2", "perimeter_um", "equivalent_diameter_um",
        "circularity", "solidity", "orientation_deg",
    ),
    "Thickness and mass": (
        "thickness_mean_um", "thickness_max_um", "volume_um3", "mass_pg", "calcite_equivalent_pg",
        "calcite_equivalent_deviation_pg", "calcite_equivalent_fused_pg", "leakage",
    ),
    "Place and focus": (
        "x_um", "y_um", "z_um", "best_plane", "focus_plane", "focus_z_um", "display_plane", "depth_um", "sharpness",
    ),
}  # fmt: skip
"""Measures of an object as its page shows them; those that nobody measured are left out."""
UNITS = {"um": MICROMETRE, "um2": f"{MICROMETRE}\u00b2", "um3": f"{MICROMETRE}\u00b3", "pg": "pg", "deg": "\u00b0"}


def find_field(dataset: Dataset, slide: int, field: int, attempt: int | None) -> FieldSecured | FieldSkipped | None:
    """Find an attempt at a field; that which counts if none is named; None where there is none."""
    counting = next(iter(dataset.fields(slide, field)), None)
    if counting is None or attempt in (None, counting.attempt):
        return counting
    others = (one for one in dataset.superseded(slide) if (one.field, one.attempt) == (field, attempt))
    return next(others, None)


def tell_field(
    dataset: Dataset, night: ShownNight, index: ObjectIndex, one: FieldSecured | FieldSkipped
) -> dict[str, Any]:
    """Tell everything that the page of a field shows."""
    told: dict[str, Any] = {
        "key": night.key, "night": night.night, "slide": one.slide, "field": one.field, "attempt": one.attempt,
        "sample": one.sample, "utc": one.utc, "counts": True,
    }  # fmt: skip
    attempts = [one for one in dataset.superseded(one.slide) if one.field == told["field"]]
    counting = next(iter(dataset.fields(one.slide, one.field)), None)
    told["counts"] = counting is None or counting.attempt == one.attempt
    told["attempts"] = sorted({each.attempt for each in (*attempts, *([counting] if counting else ()))})
    if isinstance(one, FieldSkipped):
        return told | {"state": "skipped", "reason": one.reason, "objects": []}
    kept = {file.name for file in one.files}
    stands = standing_exclusions(dataset).fields.get((one.slide, one.field)) if told["counts"] else None
    judged = stands or FieldStanding(one.slide, one.field, one.attempt, one.flags)
    return told | {
        "state": "recorded" if one.analysed else "not analysed",
        "reason": one.reason,
        "judged": words.judged(JudgedSummary.of(judged)),
        "frame_px": list(one.shape_czyx[2:]),
        "polarizations": list(one.polarizations),
        "planes": one.shape_czyx[1],
        "facts": list(_facts(one)),
        "picture": "kept" if picture_file(one.slide, one.field, one.attempt) in kept else "crops",
        "files": sorted(kept),
        "objects": [
            {**values, "called": called, "standing": _as_its_field(standing, judged)}
            for values, called, standing in _objects(dataset, night, index, one)
        ],
    }


def tell_object(
    dataset: Dataset, night: ShownNight, index: ObjectIndex, one: FieldSecured, number: int
) -> dict[str, Any] | None:
    """Tell everything that the page of an object shows; None where the field has no object of this number."""
    found = next((each for each in _rows(dataset, one) if each["number"] == number), None)
    if found is None:
        return None
    called, standing = _called(dataset, night, index, one, found)
    name = ObjectName(night.night, one.slide, one.field, one.attempt, number)
    deviation, second = found.get("calcite_equivalent_deviation_pg"), found.get("runner_up")
    return {
        "key": night.key, "night": night.night, "slide": one.slide, "field": one.field, "attempt": one.attempt,
        "number": number, "sample": one.sample, "name": str(name), "called": called, "standing": standing,
        "class_name": found["class_name"], "score": found["score"],
        "runner_up": None if second is None else index.called.get(second, second), "named_by": found.get("named_by"),
        "flags": [words for flag, words in WORDS.items() if found.get(flag)],
        "fault": found.get("fault"),
        "polarizations": list(one.polarizations), "planes": one.shape_czyx[1], "step_um": one.step_um,
        "first_z_um": one.first_z_um,
        "best_plane": _or(found.get("display_plane"), found["best_plane"]),
        "crop_px": [found["crop_box_x1"] - found["crop_box_x0"], found["crop_box_y1"] - found["crop_box_y0"]],
        "measures": [
            [title, rows] for title, names in GROUPS.items() if (rows := list(_measures(found, names, deviation)))
        ],
    }  # fmt: skip


def _as_its_field(standing: str, judged: FieldStanding) -> str:
    """Say what stands of a field now: the index of all objects learns it only when the night is read again."""
    if standing not in ("counted", "field not counted"):
        return standing
    return "counted" if judged.counted else "field not counted"


def _objects(
    dataset: Dataset, night: ShownNight, index: ObjectIndex, one: FieldSecured
) -> Iterator[tuple[dict[str, Any], dict[str, Any], str]]:
    for row in _rows(dataset, one):
        called, standing = _called(dataset, night, index, one, row)
        yield (
            {
                "number": row["number"], "class_name": row["class_name"], "score": row["score"],
                "box": [row[f"box_{corner}"] for corner in ("x0", "y0", "x1", "y1")],
                "length_um": row.get("length_um"), "mass_pg": row.get("mass_pg"),
                "flags": [words for flag, words in WORDS.items() if row.get(flag)],
            },
            called,
            standing,
        )  # fmt: skip


def _rows(dataset: Dataset, one: FieldSecured) -> list[dict[str, Any]]:
    """Give the objects of a field, with what was measured later where the attempt counts."""
    if dataset.attempt(one.slide, one.field) != one.attempt:
        return [object_values(row) for row in one.objects]
    table, _ = objects_table(dataset, field=(one.slide, one.field))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _called(
    dataset: Dataset, night: ShownNight, index: ObjectIndex, one: FieldSecured, row: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """Say what an object is called and by whom, and whether it counts."""
    place = ShownPlace(night.key, one.slide, one.field, one.attempt, row["number"])
    at = index.row_of(place)
    if at is not None:
        (shown,) = index.shown(np.array([at], np.int32))
        return {
            "taxon": shown.taxon,
            "name": shown.called,
            "probability": shown.probability,
            "who": shown.who,
        }, shown.standing
    # Of an attempt that does not count, or read before the index was: what was recorded alone.
    taxon = row.get("taxon")
    naming = objects_table(dataset, field=(one.slide, one.field))[1].named
    name = name_of(taxon, taxonomy_of(dataset, naming))
    below, own = row["below_threshold"], row["in_exclusive_tile"]
    standing = standing_of_object(row.get("counted", own and not below), below, own)
    return {"taxon": taxon or "", "name": name, "probability": row.get("taxon_probability"), "who": ""}, standing


def _measures(found: Mapping[str, Any], names: tuple[str, ...], deviation: float | None) -> Iterator[tuple[str, str]]:
    """Give each measure: what it is, and its value in the report's rounding, with deviation and unit."""
    for name in names:
        value = found.get(name)
        if value is None or name == "calcite_equivalent_deviation_pg":
            continue
        words, _, unit = name.rpartition("_")
        words, unit = (words, UNITS[unit]) if unit in UNITS else (name, "")
        spread = deviation if name in ("mass_pg", "calcite_equivalent_pg") else None
        of_stage = words in ("x", "y", "z")
        if of_stage:
            text = fixed(value, 1)
        elif name.endswith("plane"):  # people count them from 1
            text = f"{value + 1:.1f}"
        else:
            text = with_deviation(value, spread)
        yield (
            f"{words} of the stage" if of_stage else words.replace("_", " "),
            text + (unit if unit == UNITS["deg"] else f" {unit}").rstrip(),
        )


def _facts(one: FieldSecured) -> Iterator[tuple[str, str]]:
    yield "stage", f"{fixed(one.x_um, 1)}, {fixed(one.y_um, 1)} {MICROMETRE}"
    yield "focus", "none found" if one.focus.z_um is None else f"{fixed(one.focus.z_um, 1)} {MICROMETRE}"
    yield "planes", f"{one.shape_czyx[1]}, {one.step_um:g} {MICROMETRE} apart"
    backgrounds = zip(one.polarizations, one.backgrounds_dn, strict=False)
    yield from ((f"background, {state}", f"{value:.0f} DN") for state, value in backgrounds)
    if one.attempts > 1:
        yield "exposed", f"{one.attempts} times"


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
