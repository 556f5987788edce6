"""The text for a Methods section: every number in it is that of the night, and what is missing is said."""

from __future__ import annotations

import re
from dataclasses import replace as with_values
from pathlib import Path

import pytest
from msgspec.structs import replace

from daemon.config.loading import freeze
from daemon.dataset.later_tables import NamedWith, TableOrigins
from daemon.dataset.reader import Dataset
from daemon.records.flags import FieldFlag
from daemon.report.gather import gather
from daemon.report.methods import OBJECTIVE, methods
from daemon.report.numbers import NightNumbers
from daemon.report.sources import CalibrationUsed, Sources, sources_of
from tests.support.emulated_night import Digest
from tests.support.small_dataset import make_dataset

LACKING = Sources((), (), (), ())


@pytest.fixture(scope="module")
def numbers(undisturbed: tuple[Path, Digest]) -> NightNumbers:
    with Dataset.open(undisturbed[0]) as dataset:
        return gather(dataset)[0]


def of(numbers: NightNumbers, sources: Sources = LACKING, said: int = 0) -> str:
    return "\n".join(methods(numbers, sources, said))


def test_its_numbers_are_those_of_the_night(undisturbed: tuple[Path, Digest], numbers: NightNumbers) -> None:
    sources = sources_of(numbers, TableOrigins(), undisturbed[0] / "dataset")
    text, config, started = of(numbers, sources), numbers.config, numbers.started
    assert config is not None
    height, width = config.instrument.frame_px
    assert text.startswith("These data are emulated: all images were computed; no microscope and no sample was used.")
    assert f"lamelle {started.versions['lamelle']} scanned 2 mini-slides" in text
    assert f"A frame had {width} \u00d7 {height} pixels of {config.instrument.pixel_um:g} \u00b5m" in text
    assert f"a focus stack of {config.scan.planes} planes, {config.scan.step_um:g} \u00b5m apart" in text
    assert all(f"{state} ({config.instrument.polarizations[state].exposure_ms:g} ms)" in text
               for state in config.scan.polarizations)  # fmt: skip
    for slide in numbers.slides:
        (fields, area) = re.findall(rf"{slide.sample}, (\d+) fields, ([\d.]+) mm\u00b2", text)[0]
        assert int(fields) == slide.recorded == 3
        assert slide.area_mm2 is not None
        assert float(area) == pytest.approx(slide.area_mm2, rel=0.005)
    assert f"detections that scored {config.detector.threshold:g} or more" in text
    assert started.weights_sha256 in text
    assert "No calibration of dark, flat, camera, polarization and pixel-size was used" in text
    assert "Garwood, 1936" in text
    assert "95 %" in text
    assert "No classifier named the objects" in text
    assert "No field was left out." in text
    assert not re.search(r"\d um\b", text)


def test_what_lamelle_cannot_know_stands_in_brackets(numbers: NightNumbers) -> None:
    config = numbers.config
    assert config is not None
    real = config.instrument.model_copy(update={"backend": "micromanager", "name": "Axio"})
    with_own = real.model_copy(update={"objective": "a 100\u00d7/1.40 oil objective"})
    unknown, known = (
        of(with_values(numbers, config=config.model_copy(update={"instrument": one}))) for one in (real, with_own)
    )
    assert f"\u201cAxio\u201d with {OBJECTIVE}, driven" in unknown
    assert "emulated" not in unknown
    assert "\u201cAxio\u201d with a 100\u00d7/1.40 oil objective, driven" in known
    assert "[" not in known
    assert "objective: a 100" in freeze(config.model_copy(update={"instrument": with_own}))


def test_exclusions_names_and_calibrations_are_told(numbers: NightNumbers) -> None:
    first, *others = numbers.slides
    one, two, *rest = first.fields
    fields = (
        with_values(one, counted=False, flags=(FieldFlag.OIL_LOST,), reason="oil lost"),
        with_values(two, counted=False, by_person=True, reason="a hair"),
        *rest,
    )
    changed = with_values(numbers, slides=(with_values(first, fields=fields, excluded_fields=2), *others))
    named = NamedWith(number=1, utc=1.8e9, versions={"lamelle": "9.9"}, named_by="c" * 64, encoder="d" * 64)
    used = CalibrationUsed("flat-1", "flat", (), 1.0, "2026-02-01", "", "2026-01-02", expired=True)
    text = of(changed, Sources((used,), ("dark",), (), (), named=named), said=3)
    assert "Left out were 2 of 6 fields (33 %), 1 by that rule and 1 by a person (a hair)." in text
    assert "flagged as oil lost, dark and operator's hand" in text
    assert "classifier on 2027-01-15 (lamelle 9.9)" in text
    assert f"Names of 3 of {numbers.total.number} counted objects were given by persons" in text
    assert "calibrations of flat (2026-01-02, out of date)" in text
    assert "No calibration of dark was used" in text
    assert f"classifier {'c' * 64}; encoder of the classifier {'d' * 64}" in text


def test_a_night_of_which_little_is_known_says_so(tmp_path: Path, numbers: NightNumbers) -> None:
    make_dataset(tmp_path, slides=9, objects=0)
    with Dataset.open(tmp_path) as dataset:
        archive, _ = gather(dataset)
    text = of(archive)
    assert "lamelle of a version that is not known" in text
    assert "Images were read from files" in text
    assert "Of each of 9 mini-slides 2 to 2 fields were counted." in text
    assert "The area observed is not known, so no densities are given." in text
    assert "Not recorded, and not part of any area, were 9 planned fields." in text
    assert "Objects were not measured." in text
    other = with_values(numbers, config=None, started=replace(numbers.started, weights_sha256=""))
    assert "cannot be read by this version of lamelle" in of(other)
    assert "detector weights" not in of(other)
