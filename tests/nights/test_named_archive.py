"""Stacks that lie on disk get their names as they are analysed, behind the same fence, and as `classify` gives them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import tifffile
from msgspec.structs import replace
from numpy.typing import NDArray
from rich.console import Console

import lamelle as scripts
from daemon.analysis.field_output import RAW, write_raw
from daemon.config.loading import freeze
from daemon.config.taxonomy import Taxonomy
from daemon.config.taxonomy_sheet import read_taxonomy
from daemon.dataset.catalog import Catalog
from daemon.dataset.field_file import FieldProvenance
from daemon.dataset.reader import Dataset
from daemon.dataset.summary import summarise
from daemon.records.names import field_file
from daemon.records.records import (
    AnyRecord,
    FieldSecured,
    FocusResult,
    NightClosed,
    NightStarted,
    SlideClosed,
    encode,
)
from daemon.reprocessing.analyse import analyse_anew, catch_up
from daemon.reprocessing.archive import ArchiveSettings
from daemon.reprocessing.classify import classify_again
from daemon.reprocessing.detect import detect
from daemon.system import crash_points
from daemon.system.errors import Exit, Refused
from inference.errors import WeightsRefused
from inference.network.weights_file import find_weights
from inference.settings import ClassifierSettings
from tests.support import emulated_stacks
from tests.support.emulated_night import lamelle, living
from tests.support.places import CONFIGS
from tests.support.small_classifier import TAXA, write_classifier

RAISES, KILLS, FIELDS = 2, 3, 4
"""Images whose naming raises an error, and of which the worker dies as it names."""
REHEARSED = f"naming|1/{RAISES}|raise;naming|1/{KILLS}|self"
STATES = ("crossed", "parallel")
PIXEL_UM, STEP_UM = 0.059, 0.5
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint16]:
    return emulated_stacks.stack(emulated_stacks.night(frame_px=256, planes=5, seed=12), 3, 0.0)[0]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("classifier") / "names.safetensors"
    write_classifier(path)
    return path


@pytest.fixture(scope="module")
def images(pixels: NDArray[np.uint16], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of as many stacks, each turned another way."""
    folder = tmp_path_factory.mktemp("archive") / "core"
    folder.mkdir()
    metadata = {
        "axes": "CZYX", "PhysicalSizeX": PIXEL_UM, "PhysicalSizeY": PIXEL_UM, "PhysicalSizeZ": STEP_UM,
        "Channel": {"Name": list(STATES)},
    }  # fmt: skip
    for number in range(FIELDS):
        turned = np.ascontiguousarray(np.rot90(pixels, number, (2, 3)))
        tifffile.imwrite(folder / f"f{number}.ome.tif", turned, ome=True, photometric="minisblack", metadata=metadata)
    return folder


def fields(folder: Path) -> Sequence[FieldSecured]:
    with Dataset.open(folder) as dataset:
        return [field for field in dataset.fields() if isinstance(field, FieldSecured)]


def assert_named_as_classify_does(folder: Path, weights: Path) -> None:
    """Compare what was said at once with what `classify` says of the crops, not of the features that were kept."""
    recorded = fields(folder)
    for field in recorded:
        for file in field.files:
            if file.name.endswith("-features.parquet"):
                (folder / file.name).unlink()
    assert classify_again(folder, ClassifierSettings(weights=weights), QUIET).looked_at > 0
    later = {
        (row["slide"], row["field"], row["number"]): row
        for row in scripts.open(folder).objects(counted=False).to_pylist()
    }
    for field in recorded:
        for row in field.objects:
            said = later[field.slide, field.field, row.number]
            assert said["taxon"] is not None
            if row.taxon is not None:
                assert [said[name] for name in ("taxon", "runner_up", "named_by")] == [
                    row.taxon, row.runner_up, row.named_by,
                ]  # fmt: skip
                assert said["taxon_probability"] == pytest.approx(row.taxon_probability, abs=1e-3)


def test_images_are_named_as_they_are_searched_and_no_name_costs_a_field(
    images: Path, weights: Path, tmp_path: Path
) -> None:
    into, taxonomy = tmp_path / "found", CONFIGS / "taxonomy.csv"
    words = ("detect", images, "--into", into, "--classifier", weights, "--taxonomy", taxonomy, "--workers", "1")
    done = lamelle(*words, crash=REHEARSED)
    assert done.returncode == Exit.COMPLETE, done.stdout + done.stderr
    assert not living(into)
    recorded = fields(into)
    assert [field.analysed for field in recorded] == [True] * FIELDS
    assert all(field.objects for field in recorded)
    head = write_classifier(tmp_path / "again.safetensors")
    for field in recorded:
        nameless = field.field in (RAISES, KILLS)
        assert {row.named_by for row in field.objects} == ({None} if nameless else {head.sha256})
        kept = any(file.name.endswith("-features.parquet") for file in field.files)
        assert kept is not nameless
        assert nameless or {row.taxon for row in field.objects} <= {*TAXA, "emiliania", "unsure"}
    (event,) = (event for event in summarise(into).events if event.name == "not named")
    assert event.message.startswith("RuntimeError: rehearsed at 'naming'; objects without a name are counted as such")
    with Dataset.open(into) as dataset:
        started = dataset.night()
    assert started is not None
    assert (started.named_by, started.encoder) == (head.sha256, head.encoder_sha256)
    assert Taxonomy.from_json(started.taxonomy) == read_taxonomy(taxonomy)
    even = ArchiveSettings(classifier=ClassifierSettings(weights=weights, rule="even"))
    with pytest.raises(Refused, match=r"was begun with classifier\.rule 'plain', now it is 'even'"):
        detect([images], into, even, 1, QUIET, read_taxonomy(taxonomy))
    with pytest.raises(Refused, match=r"was begun with classifier\.sha256 '.*', now it is None"):
        detect([images], into, ArchiveSettings(), 1, QUIET, read_taxonomy(taxonomy))
    assert_named_as_classify_does(into, weights)


def test_a_classifier_that_does_not_fit_is_refused_before_anything_is_searched(
    images: Path, weights: Path, tmp_path: Path
) -> None:
    settings = ArchiveSettings(classifier=ClassifierSettings(weights=weights))
    other = Taxonomy(read_taxonomy(CONFIGS / "taxonomy.csv").taxa[:1])
    with pytest.raises(WeightsRefused, match="which the taxonomy does not have"):
        detect([images], tmp_path / "into", settings, 1, QUIET, other)
    assert not (tmp_path / "into").exists()


def make_night(
    folder: Path, pixels: NDArray[np.uint16], classifier: Path | None, named_by: str, fields: int = 1
) -> Path:
    """Write the dataset of a night with fields that were kept raw, all alike."""
    config = emulated_stacks.night(frame_px=256, planes=5)
    if classifier is not None:
        config = config.model_copy(update={"classifier": ClassifierSettings(weights=classifier)})
    provenance = FieldProvenance(
        night="N", slide=1, field=1, sample="core-1", x_um=0.0, y_um=0.0, first_z_um=0.0, step_um=STEP_UM,
        pixel_um=PIXEL_UM, polarizations=STATES, exposures_ms=(1.0, 1.0), shape_czyx=pixels.shape, exposed_utc=1.0,
        focus=None, instrument="none", configuration_sha256="", weights_sha256="", versions={},
    )  # fmt: skip
    paths = [folder / field_file(1, field, RAW) for field in range(1, fields + 1)]
    paths[0].parent.mkdir(parents=True)
    raws = [write_raw(path, replace(provenance, field=nth), pixels) for nth, path in enumerate(paths, 1)]
    records: list[AnyRecord] = [
        NightStarted(
            utc=1.0, night="N", configuration=freeze(config), samples={1: {"sample": "core-1"}}, planned={1: fields},
            versions={}, weights_sha256=find_weights("slim").sha256, named_by=named_by,
            taxonomy=read_taxonomy(CONFIGS / "taxonomy.csv").to_json(),
        ),
        *(
            FieldSecured(
                utc=1.0, slide=1, field=nth, sample="core-1", x_um=0.0, y_um=0.0, first_z_um=0.0, step_um=STEP_UM,
                polarizations=STATES, shape_czyx=pixels.shape, attempts=1, exposed_utc=1.0, exposed_monotonic_s=1.0,
                seconds={}, focus=FocusResult(z_um=1.0, at_edge=False, contrast=2.0), objects=(), files=(raw,),
                analysed=False,
            )
            for nth, raw in enumerate(raws, 1)
        ),
        SlideClosed(utc=1.0, slide=1, sample="core-1", recorded=fields, skipped=0),
        NightClosed(utc=1.0, recorded=fields, skipped=0),
    ]  # fmt: skip
    with closing(Catalog(folder)) as catalog:
        for seq, record in enumerate(records, start=1):
            catalog.commit(seq, encode(record))
    return folder


def test_what_a_night_kept_raw_is_named_by_the_nights_own_classifier_wherever_that_lies_now(
    pixels: NDArray[np.uint16], weights: Path, tmp_path: Path
) -> None:
    head = write_classifier(tmp_path / "same.safetensors")
    night = make_night(tmp_path / "night", pixels, tmp_path / "gone.safetensors", head.sha256)
    write_classifier(tmp_path / "other.safetensors", seed=2)
    with pytest.raises(Refused, match=r"night N began with classifier .*, which '.*other\.safetensors' is not"):
        catch_up(night, None, 1, QUIET, ClassifierSettings(weights=tmp_path / "other.safetensors"))
    assert catch_up(night, None, 1, QUIET, ClassifierSettings(weights=weights)) == Exit.COMPLETE
    (field,) = fields(night)
    assert {row.named_by for row in field.objects} == {head.sha256}
    assert_named_as_classify_does(night, weights)


@pytest.mark.long
def test_what_a_night_kept_raw_is_analysed_without_a_classifier_that_is_gone_and_anew_with_another(
    pixels: NDArray[np.uint16], weights: Path, tmp_path: Path
) -> None:
    head = write_classifier(tmp_path / "same.safetensors")
    night = make_night(tmp_path / "night", pixels, tmp_path / "gone.safetensors", head.sha256)
    told = io.StringIO()
    anew, unnamed = tmp_path / "anew", tmp_path / "unnamed"
    assert analyse_anew(night, anew, {}, 1, QUIET, {"weights": weights}) == Exit.COMPLETE
    (field,) = fields(anew)
    assert {row.named_by for row in field.objects} == {head.sha256}
    assert_named_as_classify_does(anew, weights)
    assert analyse_anew(night, unnamed, {}, 1, QUIET) == Exit.COMPLETE
    assert catch_up(night, None, 1, Console(file=told, width=1000)) == Exit.COMPLETE
    assert "gone.safetensors" in told.getvalue()
    for folder in (unnamed, night):
        assert {row.named_by for one in fields(folder) for row in one.objects} == {None}
        (event,) = (event for event in summarise(folder).events if event.name == "not named")
        assert "gone.safetensors" in event.message


@pytest.mark.long
@pytest.mark.parametrize("then", ["gone", "another"])
def test_what_is_analysed_anew_goes_on_without_names_when_the_nights_classifier_is_not_there_any_more(
    pixels: NDArray[np.uint16], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    names, into, told = tmp_path / "names.safetensors", tmp_path / "anew", io.StringIO()
    head = write_classifier(names)
    night = make_night(tmp_path / "night", pixels, names, head.sha256, fields=2)
    monkeypatch.setattr(crash_points, "_armed", ())
    monkeypatch.setenv(crash_points.VARIABLE, "file without catalog|2|raise")
    with pytest.raises(RuntimeError, match="rehearsed"):
        analyse_anew(night, into, {}, 1, QUIET)
    monkeypatch.delenv(crash_points.VARIABLE)
    if then == "gone":
        names.unlink()
    else:
        write_classifier(names, seed=2)
    for _ in range(2):
        assert analyse_anew(night, into, {}, 1, Console(file=told, width=1000)) == Exit.COMPLETE
    assert [{row.named_by for row in one.objects} for one in fields(into)] == [{head.sha256}, {None}]
    (event,) = (event for event in summarise(into).events if event.name == "not named")
    assert ("names.safetensors" if then == "gone" else f"began with {head.sha256[:12]}") in event.message
    assert told.getvalue().count(event.message) == 1


@pytest.mark.long
def test_what_was_begun_without_names_goes_on_without_when_the_classifier_is_back(
    pixels: NDArray[np.uint16], tmp_path: Path
) -> None:
    names, into = tmp_path / "names.safetensors", tmp_path / "anew"
    head = write_classifier(names)
    night = make_night(tmp_path / "night", pixels, names, head.sha256)
    names.rename(tmp_path / "aside")
    assert analyse_anew(night, into, {}, 1, QUIET) == Exit.COMPLETE
    (tmp_path / "aside").rename(names)
    assert analyse_anew(night, into, {}, 1, QUIET) == Exit.COMPLETE
    assert {row.named_by for one in fields(into) for row in one.objects} == {None}
    with pytest.raises(Refused, match=r"was begun with classifier\.sha256 None, now it is"):
        analyse_anew(night, into, {}, 1, QUIET, {"weights": names})


def test_rule_and_taxonomy_are_refused_where_there_is_no_classifier(pixels: NDArray[np.uint16], tmp_path: Path) -> None:
    night = make_night(tmp_path / "night", pixels, None, "")
    taxonomy = read_taxonomy(CONFIGS / "taxonomy.csv")
    asked: list[tuple[str, dict[str, str], Taxonomy | None]] = [
        ("--rule", {"rule": "even"}, None), ("--taxonomy", {}, taxonomy)
    ]  # fmt: skip
    for option, given, taxa in asked:
        told = f"{option} is of no use, as night N has no classifier; name one with --classifier"
        with pytest.raises(Refused, match=told):
            analyse_anew(night, tmp_path / "into", {}, 1, QUIET, given, taxa)
    assert not (tmp_path / "into").exists()
