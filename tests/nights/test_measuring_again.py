"""Objects of emulated fields and of a recorded night are measured: against what is true, and again."""

import io
import math
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace as changed
from rich.console import Console

from calibration.steps import Quantity
from daemon.analysis.field_output import object_rows
from daemon.analysis.measure import Measurer
from daemon.calibration_store.corrections import corrections_of_field
from daemon.dataset.field_file import FieldProvenance
from daemon.dataset.later_tables import Given, later_tables, measured_with
from daemon.dataset.reader import Dataset
from daemon.records.records import MEASURED, FieldSecured, ObjectRow
from daemon.reprocessing.measure import measure_again
from daemon.system.errors import DamagedFile, Refused
from drivers.virtual_slide.truth import TrueObject
from inference.analyser import Analyser
from inference.settings import CropSettings, DetectorSettings, FocusSettings
from tests.support.emulated_night import Digest
from tests.support.emulated_stacks import night, stack
from tests.support.kept_night import make_kept_night
from tests.support.small_dataset import make_dataset
from tests.support.some_records import VALUES, a_record, put

STEP_UM, PLANES, FRAME_PX, PIXEL_UM = 0.3, 13, 768, 0.059
Seen = tuple[FieldProvenance, tuple[ObjectRow, ...], list[tuple[float, TrueObject]]]


def provenance_of(polarizations: tuple[str, ...] = ("crossed", "parallel")) -> FieldProvenance:
    return FieldProvenance(
        night="n", slide=2, field=1, sample="s", x_um=0.0, y_um=0.0, first_z_um=-1.8, step_um=STEP_UM,
        pixel_um=PIXEL_UM, polarizations=polarizations, exposures_ms=(20.0,) * len(polarizations),
        shape_czyx=(len(polarizations), PLANES, FRAME_PX, FRAME_PX), exposed_utc=0.0, focus=None, instrument="emulated",
        configuration_sha256="", weights_sha256="", versions={},
    )  # fmt: skip


@pytest.fixture(scope="module")
def seen() -> Seen:
    """An emulated field of coccoliths, measured, and what truly lies in it."""
    config = night(FRAME_PX, PLANES, seed=77)
    config = config.model_copy(update={"scan": config.scan.model_copy(update={"step_um": STEP_UM})})
    pixels, truth = stack(config, 5, 250.0)
    provenance = provenance_of()
    settings = DetectorSettings(runtime="torch"), CropSettings(), FocusSettings()
    analysis = Analyser(*settings, PIXEL_UM, provenance.polarizations).analyse(pixels)
    rows = object_rows(analysis.objects, provenance, corrections_of_field(provenance, None))
    again = object_rows(analysis.objects, provenance, corrections_of_field(provenance, None))
    assert rows == again
    return provenance, rows, truth


def matched(seen: Seen) -> list[tuple[ObjectRow, float, TrueObject]]:
    """Whole, undisturbed objects beside what they are."""
    pairs = []
    for row in seen[1]:
        x, y = (row.box[0] + row.box[2]) / 2, (row.box[1] + row.box[3]) / 2
        for plane, true in seen[2]:
            centre = (true.box[0] + true.box[2]) / 2, (true.box[1] + true.box[3]) / 2
            alone = true.whole and not (true.touching or true.fragment or true.buried)
            if alone and math.dist((x, y), centre) < 4 and not row.cut and 1 < plane < PLANES - 2:
                pairs.append((row, plane, true))
    return pairs


def test_placoliths_are_as_long_and_as_heavy_as_they_are(seen: Seen) -> None:
    placoliths = [pair for pair in matched(seen) if pair[2].kind in ("emiliania", "gephyrocapsa")]
    assert len(placoliths) >= 6
    lengths = [row.length_um / true.length_um for row, _, true in placoliths if row.length_um is not None]
    masses = [row.mass_pg / true.visible_mass_pg for row, _, true in placoliths if row.mass_pg is not None]
    assert len(lengths) == len(masses) == len(placoliths)
    assert np.median(np.abs(np.array(lengths) - 1)) < 0.03
    assert np.median(np.abs(np.array(masses) - 1)) < 0.06
    for row, plane, _ in placoliths:
        assert row.length_by == "distal_shield"
        assert row.focus_by == row.outline_by == "crossed"
        assert row.focus_plane == pytest.approx(plane, abs=0.3 / STEP_UM)
        assert row.focus_z_um == pytest.approx(-1.8 + STEP_UM * (row.focus_plane or 0))
        assert row.mass_pg == row.calcite_equivalent_pg
        assert not row.defocused


def test_a_plane_alone_is_told_where_it_is_far(seen: Seen) -> None:
    provenance = changed(provenance_of(), step_um=1.0)
    measurer = Measurer(provenance, corrections_of_field(provenance, None))
    row = changed(seen[1][0], crop_box=(0, 0, 60, 60), box=(12, 12, 48, 48))
    random = np.random.default_rng(1)
    y, x = np.mgrid[:60, :60]
    ring = np.exp(-(((np.hypot(x - 30, y - 30) - 12) / 3) ** 2))
    for offset, far in ((0.0, False), (0.45, True)):
        blur = 1 + 2 * (np.arange(PLANES) - 6 - offset) ** 2
        planes = np.stack([random.poisson(200 + 3000 * ring / b) for b in blur])
        crop = np.stack([planes, random.poisson(30000 * np.ones_like(planes))]).astype(np.uint16)
        told = measurer.measure(row, crop, crop[:, 6], overlapping=False)
        assert told.defocused == far
        assert (told.mass_pg is None) == far
        assert told.calcite_equivalent_pg is not None


def test_one_state_alone_gives_a_shape_and_no_mass(seen: Seen) -> None:
    row = changed(seen[1][0], crop_box=(0, 0, 60, 60), box=(15, 15, 45, 45))
    y, x = np.mgrid[:60, :60]
    disc = 20000 - 3000.0 * (np.hypot(x - 30, y - 30) < 14)
    crop = np.random.default_rng(2).poisson(np.broadcast_to(disc, (1, PLANES, 60, 60))).astype(np.uint16)
    provenance = provenance_of(("parallel",))
    told = Measurer(provenance, corrections_of_field(provenance, None)).measure(row, crop, crop[:, 0], overlapping=True)
    assert told.length_um == pytest.approx(28 * PIXEL_UM, rel=0.08)
    assert (told.outline_by, told.overlapping, told.calcite_equivalent_pg) == ("parallel", True, None)
    tiny = Measurer(provenance, corrections_of_field(provenance, None)).measure(
        row, crop[..., :5], crop[:, 0], overlapping=False
    )
    assert tiny.length_um is None


def test_a_recorded_night_is_measured_again_with_the_same_numbers(
    undisturbed: tuple[Path, Digest], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(undisturbed[0], run)
    with Dataset.open(run) as dataset:
        before = {slide: dataset.objects(slide) for slide in (1, 2)}
    again = measure_again(run, Console(file=io.StringIO()))
    assert again.number == 1
    tables = later_tables(run / "dataset", Given.MEASURED)[1]
    assert [path.parent.name for path in tables] == ["slide-1", "slide-2"]
    for slide, path in enumerate(tables, start=1):
        table = pq.read_table(path)
        assert table.select(before[slide].column_names).equals(before[slide].replace_schema_metadata(None))
        assert sum(value is not None for value in table["length_um"].to_pylist()) > 3
        with_what = measured_with(path)
        assert (with_what.number, with_what.calibrations) == (1, ())
        assert with_what.formulas.keys() == {"outline", "mass"}
        assert "lamelle" in with_what.versions


def test_other_calibrations_go_into_another_table(tmp_path: Path) -> None:
    make_dataset(tmp_path / "night", slides=1)
    held = (tmp_path / "night/slide-1/objects.parquet").read_bytes()
    with Dataset.open(tmp_path / "night") as dataset:
        frame_px = next(field.shape_czyx[2:] for field in dataset.fields() if isinstance(field, FieldSecured))
    values = {name: Quantity(value, 0.01, "1") for name, value in VALUES["polarization"].items()}
    values |= {"ratio": Quantity(2.0, 0.01, "1"), "leakage": Quantity(0.0, 0.0, "1")}
    values |= {"shift_x": Quantity(0.0, 0.1, "px"), "shift_y": Quantity(0.0, 0.1, "px")}
    fresh: dict[str, Any] = {"frame_px": frame_px, "days": 1.0, "taken": datetime.now(UTC).replace(microsecond=0)}
    shelf = tmp_path / "shelf"
    name = put(shelf, a_record("polarization", **fresh, values=values))
    put(shelf, a_record("polarization", **fresh, instrument="another"))
    put(shelf, a_record("camera", **fresh, verdict="not usable", reason="lamp off"))

    first = measure_again(tmp_path / "night", Console(file=io.StringIO()))
    second = measure_again(tmp_path / "night", Console(file=io.StringIO()), shelf)
    assert (first.number, second.number) == (1, 2)
    one, other = (pq.read_table(tmp_path / f"night/slide-1/measured-{n:03d}.parquet") for n in (1, 2))
    lighter = zip(one["calcite_equivalent_pg"].to_pylist(), other["calcite_equivalent_pg"].to_pylist(), strict=True)
    assert all(before > after > 0 for before, after in lighter if before is not None)
    assert measured_with(tmp_path / "night/slide-1/measured-002.parquet").calibrations == (name,)
    assert (tmp_path / "night/slide-1/objects.parquet").read_bytes() == held
    assert set(pq.read_table(tmp_path / "night/slide-1/objects.parquet").column_names) >= set(MEASURED)


def test_calibrations_of_another_instrument_measure_nothing(tmp_path: Path) -> None:
    make_dataset(tmp_path / "night", slides=1)
    put(tmp_path / "shelf", a_record("camera", instrument="another", days=1e4))
    with pytest.raises(Refused, match=r"holds no valid record of 'emulated'.*or calibrate"):
        measure_again(tmp_path / "night", Console(file=io.StringIO()), tmp_path / "shelf")
    with pytest.raises(Refused, match="is not a folder"):
        measure_again(tmp_path / "night", Console(file=io.StringIO()), tmp_path / "none")
    assert later_tables(tmp_path / "night", Given.MEASURED) == {}


def test_tables_go_into_no_folder_of_another_night(tmp_path: Path) -> None:
    make_dataset(tmp_path / "mine", slides=1, fields=1)
    make_kept_night(tmp_path / "run/dataset", slides=1, night="other")
    quiet = Console(quiet=True)
    own = measure_again(tmp_path / "run", quiet)
    assert own.number == 1
    for into in ("run", "run/dataset"):
        with pytest.raises(
            Refused, match=r"--into '.*' holds another night \(other\) than .*; name a folder of its own"
        ):
            measure_again(tmp_path / "mine", quiet, into=tmp_path / into)
    assert list(later_tables(tmp_path / "run/dataset", Given.MEASURED)) == [1]
    assert not list((tmp_path / "run").glob("slide-*"))

    apart = tmp_path / "apart"
    assert [measure_again(tmp_path / "mine", quiet, into=apart).number for _ in range(2)] == [1, 2]
    assert measure_again(tmp_path / "mine", quiet, into=tmp_path / "mine").number == 1
    with pytest.raises(Refused, match="holds another night"):
        measure_again(tmp_path / "run", quiet, into=apart)
    assert list(later_tables(apart, Given.MEASURED)) == [1, 2]
    pq.write_table(pa.table({"a": [1]}), apart / "slide-1/other.parquet")
    with pytest.raises(DamagedFile, match=r"other\.parquet cannot be read .*move it away"):
        measure_again(tmp_path / "mine", quiet, into=apart)


def test_a_night_of_the_same_name_that_began_anew_is_another(tmp_path: Path) -> None:
    for folder, weights in (("first", "ab"), ("again", "cd")):
        make_dataset(tmp_path / folder, slides=1, fields=1, weights_sha256=weights * 32)
    with pytest.raises(Refused, match="holds another night"):
        measure_again(tmp_path / "first", Console(quiet=True), into=tmp_path / "again")
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    assert measure_again(tmp_path / "first", Console(quiet=True), into=tmp_path / "copy").number == 1


def test_where_nothing_was_found_nothing_is_measured(tmp_path: Path) -> None:
    make_dataset(tmp_path, slides=1, objects=0)
    with pytest.raises(Refused, match="holds no objects"):
        measure_again(tmp_path, Console(file=io.StringIO()))
