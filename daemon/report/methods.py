"""A text for the Methods section of a manuscript: how a night was made, in sentences whose numbers its records tell.

What lamelle cannot know stands in square brackets, to be filled in. What is missing is said, not left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from calibration.counting.poisson import LEVEL
from daemon.analysis.measure import FORMULAS
from daemon.config.model import NightConfig
from daemon.config.taxonomy import Taxonomy
from daemon.records.flags import FieldFlag
from daemon.report.numbers import FieldNumbers, NightNumbers, SlideNumbers
from daemon.report.sources import CalibrationUsed, Sources
from inference.settings import DetectorSettings
from inference.wording import MICROMETRE, counted, fixed, listed, percent, short, whole

MOST_SLIDES = 8
"""Of more mini-slides a range is given, not a list."""
OBJECTIVE = "[objective: magnification, numerical aperture, immersion]"
NETWORKS = {"slim": "a slim backbone", "resnet50": "a ResNet-50 backbone"}
VIEWS = {"fused": "the fused view of each stack", "planes": "every plane of each stack"}
PATTERNS = {"grid": "on a grid", "random": "at random places of a grid"}
NOT_KNOWN = (
    "The configuration of this night cannot be read by this version of lamelle, so its settings are not told here."
)
ARCHIVE = "Images were read from files; with what and how they were recorded is told where they come from."
EMULATED = "These data are emulated: all images were computed; no microscope and no sample was used."


def methods(numbers: NightNumbers, sources: Sources, said_by_persons: int) -> tuple[str, ...]:
    """Write the text, a paragraph each.

    Parameters
    ----------
    said_by_persons
        how many of the counted objects have a name that a person gave.
    """
    paragraphs = (
        _imaging(numbers),
        _observed(numbers),
        _finding(numbers, sources, said_by_persons),
        _measuring(numbers, sources),
        _counting(numbers),
        _checksums(numbers, sources),
    )
    return tuple(" ".join(sentences) for one in paragraphs if (sentences := list(one)))


def _imaging(numbers: NightNumbers) -> Iterator[str]:
    config, version = numbers.config, numbers.started.versions.get("lamelle", "of a version that is not known")
    slides = counted(len(numbers.slides), "mini-slide")
    if config is None:
        yield f"Images of {slides} were processed with lamelle {version}."
        yield NOT_KNOWN if "instrument" in numbers.started.configuration else ARCHIVE
        return
    instrument, scan = config.instrument, config.scan
    if instrument.backend == "emulated":
        yield EMULATED
    began, ended = (datetime.fromtimestamp(utc, UTC) for utc in (numbers.started.utc, numbers.ended_utc))
    if instrument.replay is not None:
        yield f"Recorded stacks of {slides} were processed by lamelle {version}."
    else:
        objective = "" if instrument.backend == "emulated" else f" with {instrument.objective or OBJECTIVE}"
        yield (
            f"From {began:%Y-%m-%d %H:%M} to {ended:%Y-%m-%d %H:%M} UTC lamelle {version} scanned {slides} on the "
            f"microscope \u201c{instrument.name}\u201d{objective}, driven through the back-end {instrument.backend}."
        )
    height, width = instrument.frame_px
    yield (
        f"A frame had {width} \u00d7 {height} pixels of {instrument.pixel_um:g} {MICROMETRE} on the sample, "
        f"{fixed(width * instrument.pixel_um, 1)} \u00d7 {fixed(height * instrument.pixel_um, 1)} {MICROMETRE} in all."
    )
    yield _stack(config)
    if instrument.replay is None:
        yield (
            f"Fields lay {PATTERNS[scan.pattern.kind]}, neighbouring frames overlapping by "
            f"{percent(scan.pattern.overlap)} of their sides."
        )


def _stack(config: NightConfig) -> str:
    scan, presets = config.scan, config.instrument.polarizations
    states = listed(
        [f"{state} ({presets[state].exposure_ms:g} ms)" if state in presets else state for state in scan.polarizations]
    )
    several = "each of the polarizations" if len(scan.polarizations) > 1 else "the polarization"
    return (
        f"Of every field a focus stack of {scan.planes} planes, {scan.step_um:g} {MICROMETRE} apart, was exposed in "
        f"{several} {states}."
    )


def _observed(numbers: NightNumbers) -> Iterator[str]:
    seen = [slide for slide in numbers.slides if slide.recorded]
    if not seen:
        yield "No field was recorded."
    elif len(seen) <= MOST_SLIDES:
        yield f"Counted fields and the area observed in them were: {'; '.join(_observed_on(slide) for slide in seen)}."
    else:
        fields = [_counted_fields(slide) for slide in seen]
        between = f"{whole(min(fields))} to {whole(max(fields))} fields"
        yield f"Of each of {whole(len(seen))} mini-slides {between} were counted."
    if numbers.total.per_mm2 is None and seen:
        yield "The area observed is not known, so no densities are given."
    if numbers.skipped:
        left = len(numbers.skipped)
        yield f"Not recorded, and not part of any area, {_were(left)} {counted(left, 'planned field')}."
    if numbers.not_analysed:
        waiting = counted(numbers.not_analysed, "recorded field")
        yield f"When this was written {waiting} had not been analysed."


def _observed_on(slide: SlideNumbers) -> str:
    area = "" if slide.area_mm2 is None else f", {short(slide.area_mm2)} mm\u00b2"
    name = slide.sample or f"mini-slide {slide.slide}"
    return f"{name}, {counted(_counted_fields(slide), 'field')}{area}"


def _counted_fields(slide: SlideNumbers) -> int:
    return slide.recorded - slide.not_analysed - slide.excluded_fields


def _finding(numbers: NightNumbers, sources: Sources, said_by_persons: int) -> Iterator[str]:
    if numbers.config is not None:
        yield _detector(numbers.config.detector)
    else:
        yield f"Microfossils ({', '.join(numbers.classes) or 'no classes were found'}) were found by a detector."
    named = sources.named.named_by if sources.named is not None else numbers.started.named_by
    if named:
        yield (
            f"Objects were named by an automatic classifier{_classifier(numbers, sources)}; what it was not sure of "
            "stands at the genus or group that is sure, or as unsure."
        )
    else:
        yield "No classifier named the objects; they are reported by the detector\u2019s classes."
    if numbers.taxonomy.taxa:
        yield f"Names follow a taxonomy of {counted(len(numbers.taxonomy.taxa), 'taxon', 'taxa')}."
    if said_by_persons:
        yield (
            f"Names of {whole(said_by_persons)} of {counted(numbers.total.number, 'counted object')} were given by "
            "persons; counts by taxon are the classifier\u2019s."
        )
    elif numbers.total.number:
        yield "No name was checked by a person."


def _detector(settings: DetectorSettings) -> str:
    weights = (
        "the weights that come with lamelle" if settings.weights == "slim" else f"weights {Path(settings.weights).name}"
    )
    return (
        f"Microfossils ({', '.join(settings.classes)}) were found by a Faster R-CNN with "
        f"{NETWORKS[settings.architecture]} ({weights}), applied to {VIEWS[settings.mode]}; detections that scored "
        f"{settings.threshold:g} or more were accepted as objects."
    )


def _classifier(numbers: NightNumbers, sources: Sources) -> str:
    """Say which classifier it was, or when the names were given where that was later."""
    if sources.named is not None:
        return _later(sources.named.utc, sources.named.versions)
    settings = None if numbers.config is None else numbers.config.classifier
    if settings is None:
        return ""
    own = settings.weights == "species"
    return " (the one that comes with lamelle)" if own else f" ({Path(settings.weights).name})"


def _later(utc: float, versions: dict[str, str]) -> str:
    version = versions.get("lamelle")
    return f" on {datetime.fromtimestamp(utc, UTC):%Y-%m-%d}" + (f" (lamelle {version})" if version else "")


def _measuring(numbers: NightNumbers, sources: Sources) -> Iterator[str]:
    kinds = [kind for kind in numbers.kinds if kind.length_um is not None or kind.mass_pg is not None]
    if not kinds:
        yield "Objects were not measured."
        return
    later = sources.measured
    formulas = FORMULAS if later is None else later.formulas
    masses = any(kind.mass_pg is not None for kind in kinds)
    how = f"outlines by the rule \u201c{formulas.get('outline', 'not known')}\u201d"
    how += f", calcite masses by the formula \u201c{formulas.get('mass', 'not known')}\u201d" if masses else ""
    what = "Lengths and masses were measured" if masses else "Lengths were measured"
    again = "" if later is None else f" again{_later(later.utc, later.versions)}"
    yield (f"{what}{again}: {how}; medians are of objects that no flag speaks against, weighted for cut ones.")
    if sources.calibrations:
        yield f"They rest on calibrations of {listed([_dated(one) for one in sources.calibrations])}."
    if sources.assumed:
        yield f"No calibration of {listed(sources.assumed)} was used; values were assumed there."
    elif not sources.calibrations:
        yield "No calibration was used; all values were assumed."


def _dated(one: CalibrationUsed) -> str:
    return f"{one.routine} ({one.taken or one.name}{', out of date' if one.expired else ''})"


def _counting(numbers: NightNumbers) -> Iterator[str]:
    yield (
        "An object was counted once, in the field in whose own tile (its frame without the overlap) its centre lay."
        if numbers.total.per_mm2 is not None
        else "Every accepted object of a counted field was counted."
    )
    rule = () if numbers.config is None else numbers.config.counting.not_counted
    if rule:
        yield (
            "By a rule that was fixed before the night and never looks at counts, fields were not counted that were "
            f"flagged as {listed([FieldFlag(flag).words for flag in rule])}."
        )
    recorded = [field for field in numbers.fields if field.state == "recorded"]
    left_out = [field for field in recorded if not field.counted]
    by_person = sum(field.by_person for field in left_out)
    if left_out:
        parts = [f"{whole(len(left_out) - by_person)} by that rule"] * (by_person < len(left_out))
        parts += [f"{whole(by_person)} by a person{_reasons(left_out)}"] * bool(by_person)
        yield (
            f"Left out {_were(len(left_out))} {whole(len(left_out))} of {counted(len(recorded), 'field')} "
            f"({percent(numbers.excluded_share)}), {listed(parts)}."
        )
    elif recorded:
        yield "No field was left out."
    included = sum(field.counted and field.by_person and bool(field.flags) for field in recorded)
    if included:
        yield f"By a person\u2019s word {counted(included, 'field')} with such a flag {_were(included)} counted."
    if numbers.total.per_mm2 is not None:
        yield "Densities are counted objects over the area of the own tiles of counted fields."
    yield (
        f"Intervals are exact {percent(LEVEL)} intervals of a Poisson mean (Garwood, 1936); they hold for objects that "
        "lie independently of each other."
    )


def _reasons(left_out: Sequence[FieldNumbers]) -> str:
    whys = dict.fromkeys(field.reason for field in left_out if field.by_person and field.reason)
    return f" ({'; '.join(whys)})" if whys else ""


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _checksums(numbers: NightNumbers, sources: Sources) -> Iterator[str]:
    started, named = numbers.started, sources.named
    found = [
        ("detector weights", started.weights_sha256),
        ("classifier", started.named_by if named is None else named.named_by),
        ("encoder of the classifier", started.encoder if named is None else named.encoder),
        ("taxonomy", _of_taxonomy(numbers.taxonomy)),
        ("configuration", hashlib.sha256(started.configuration.encode()).hexdigest()),
    ]
    yield f"SHA-256 checksums: {'; '.join(f'{name} {sha256}' for name, sha256 in found if sha256)}."
    versions = ", ".join(f"{name} {version}" for name, version in started.versions.items() if name != "lamelle")
    if versions:
        yield f"Other software: {versions}."


def _of_taxonomy(taxonomy: Taxonomy) -> str:
    return taxonomy.sha256 if taxonomy.taxa else ""
