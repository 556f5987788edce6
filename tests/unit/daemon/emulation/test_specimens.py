"""Stacks of single specimens hold what their index says, with what lies around them, as a field would show it."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from daemon.config.model import NightConfig
from daemon.emulation import specimens
from daemon.emulation.export import override
from daemon.emulation.specimen_index import SpecimenRow
from daemon.emulation.specimens import Wish, export_specimens
from daemon.library.build import build
from daemon.library.sources.pictures import PictureSettings
from daemon.system.errors import Refused
from drivers.virtual_slide.specimens.collection import KINDS
from tests.support import emulated_stacks
from tests.support.small_disk import remount, small_disk
from tests.support.virtual_views import PIXEL_UM, SOME_VIEWS, frame_of, lying, make

FEW = {"emiliania": 8, "florisphaera": 4, "shard": 3}
EACH, SLIDE = 3, 2


@pytest.fixture(scope="module", autouse=True)
def few_kinds() -> Iterator[None]:
    """Little of few kinds, so that their light is soon made where it is not yet kept."""
    with lying(FEW), pytest.MonkeyPatch.context() as patch:
        patch.setattr(specimens, "FRAME_PX", (512, 512))
        yield


@pytest.fixture(scope="module")
def config() -> NightConfig:
    return emulated_stacks.night(frame_px=256, planes=3, seed=12, profile="easy")


@pytest.fixture(scope="module")
def made(config: NightConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[SpecimenRow]]:
    into = tmp_path_factory.mktemp("specimens")
    return into, export_specimens(config, into, [SLIDE], Wish(each=EACH, junk=3))


def test_each_taxon_has_as_many_as_asked_and_each_row_its_own_stack(made: tuple[Path, list[SpecimenRow]]) -> None:
    into, rows = made
    assert (
        sorted(row.taxon for row in rows)
        == ["calcite-fragment"] * 3 + ["emiliania-huxleyi"] * EACH + ["florisphaera-profunda"] * EACH
    )
    assert {(row.taxon, row.class_name) for row in rows if row.junk} == {("calcite-fragment", "shard")}
    assert len({row.key for row in rows}) == len({row.file for row in rows}) == len(rows)
    for row in rows:
        stored = (into / row.file).read_bytes()
        assert hashlib.sha256(stored).hexdigest() == row.sha256
        stack = tifffile.imread(into / row.file)
        assert stack.dtype == np.uint16
        assert stack.shape[:2] == (len(row.states.split()), row.planes) == (2, 3)
        # The box lies in its crop, and around it the margin that a night cuts out.
        height, width = stack.shape[2:]
        assert 0 <= row.x0 < row.x1 <= width
        assert 0 <= row.y0 < row.y1 <= height
        assert (row.x1 - row.x0) * row.pixel_um <= row.length_um * 1.05


@pytest.mark.long
def test_turned_over_the_same_individuals_lie_at_the_same_places(
    made: tuple[Path, list[SpecimenRow]], config: NightConfig, tmp_path: Path
) -> None:
    turned = export_specimens(override(config, turned_over=True), tmp_path, [SLIDE], Wish(each=EACH, junk=3))
    assert [(row.place, row.variant) for row in turned] == [(row.place, row.variant) for row in made[1]]
    assert {row.key for row in turned}.isdisjoint({row.key for row in made[1]})
    assert {row.sha256 for row in turned}.isdisjoint({row.sha256 for row in made[1]})


def test_the_index_is_the_same_as_parquet_and_as_csv(made: tuple[Path, list[SpecimenRow]]) -> None:
    into, rows = made
    table = pq.read_table(into / "index.parquet").to_pylist()
    assert table == [vars(row) for row in rows]
    with (into / "index.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [line["key"] for line in lines] == [row.key for row in rows]


def test_a_coccolith_shines_where_its_box_is(made: tuple[Path, list[SpecimenRow]]) -> None:
    into, rows = made
    for row in (row for row in rows if row.taxon == "florisphaera-profunda" and not row.touching):
        crossed = tifffile.imread(into / row.file)[0].max(axis=0).astype(float)
        inside = crossed[round(row.y0) : round(row.y1), round(row.x0) : round(row.x1)]
        assert inside.max() > 2 * np.median(crossed[:4])


def test_the_same_seed_gives_the_same_bytes_and_another_collection_other_specimens(
    config: NightConfig, made: tuple[Path, list[SpecimenRow]], tmp_path: Path
) -> None:
    wish = Wish(each=2, taxa=("emiliania-huxleyi",))
    again = export_specimens(config, tmp_path / "again", [SLIDE], wish)
    assert [row.sha256 for row in again] == [row.sha256 for row in made[1] if row.taxon == "emiliania-huxleyi"][:2]
    other = export_specimens(override(config, seed=13), tmp_path / "other", [SLIDE], wish)
    assert {row.night for row in other}.isdisjoint(row.night for row in again)
    assert {row.sha256 for row in other}.isdisjoint(row.sha256 for row in again)


def test_larger_ones_get_coarser_pixels(config: NightConfig, tmp_path: Path) -> None:
    rows = export_specimens(config, tmp_path, [SLIDE], Wish(each=3, taxa=("florisphaera-profunda",), most_px=64))
    for row in rows:
        stack = tifffile.imread(tmp_path / row.file)
        assert max(stack.shape[2:]) <= 64
        assert row.pixel_um / PIXEL_UM == pytest.approx(round(row.pixel_um / PIXEL_UM))
        assert row.pixel_um > PIXEL_UM
        assert (row.x1 - row.x0) * row.pixel_um <= row.length_um * 1.05


@pytest.mark.parametrize(
    ("slides", "wish", "says"),
    [
        ([9], Wish(), "scan.slides has no position 9"),
        ([SLIDE], Wish(taxa=("thalassiosira",)), "profile 'easy' has no taxon 'thalassiosira'"),
    ],
)
def test_what_is_not_there_is_refused(
    config: NightConfig, tmp_path: Path, slides: list[int], wish: Wish, says: str
) -> None:
    with pytest.raises(Refused, match=says):
        export_specimens(config, tmp_path, slides, wish)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_an_index_is_never_written_over(
    config: NightConfig, made: tuple[Path, list[SpecimenRow]]
) -> None:
    with pytest.raises(Refused, match="already has specimens"):
        export_specimens(config, made[0], [SLIDE], Wish(each=EACH, junk=3))


def test_stacks_that_were_begun_with_nobody_knows_what_are_not_gone_on_with(
    config: NightConfig, tmp_path: Path
) -> None:
    (tmp_path / "stacks").mkdir()
    with pytest.raises(Refused, match="already has specimens; name another folder"):
        export_specimens(config, tmp_path, [SLIDE], Wish())


def test_the_same_again_goes_on_where_it_was_interrupted(
    config: NightConfig, made: tuple[Path, list[SpecimenRow]], tmp_path: Path
) -> None:
    wish = Wish(each=EACH, junk=3)
    with small_disk(tmp_path / "disk", megabytes=1) as into:
        with pytest.raises(OSError, match="No space left"):
            export_specimens(config, into, [SLIDE], wish)
        before = {path: path.stat().st_mtime_ns for path in into.rglob("*.ome.tif")}
        assert 0 < len(before) < len(made[1])
        with pytest.raises(Refused, match="are not finished; give the same `lamelle emulate specimens` again"):
            build(tmp_path / "library", [into], PictureSettings(), None, Console(quiet=True))
        remount(into, "size=9m")
        with pytest.raises(Refused, match="begun with other wish and emulation; give the same command again"):
            export_specimens(override(config, seed=13), into, [SLIDE], Wish(each=EACH))
        again = export_specimens(config, into, [SLIDE], wish)
        assert [row.sha256 for row in again] == [row.sha256 for row in made[1]]
        assert all(path.stat().st_mtime_ns == at for path, at in before.items())
        assert pq.read_table(into / "index.parquet").equals(pq.read_table(made[0] / "index.parquet"))
        told = build(tmp_path / "library", [into], PictureSettings(), None, Console(quiet=True))
        assert told.taken["disk"] == len(again)


@given(st.dictionaries(st.sampled_from(list(KINDS)), st.floats(0.01, 50), min_size=1), st.integers(0, 500))
def test_a_number_is_shared_out_in_proportion_and_in_whole(often: dict[str, float], total: int) -> None:
    counts = specimens._split(often, total)
    assert sum(counts.values()) == total
    whole = sum(often.values())
    for kind, count in counts.items():
        assert abs(count - total * often[kind] / whole) < 1 + 1e-6


def test_a_part_of_a_frame_shows_the_light_of_that_part() -> None:
    slide, view = make(profile="easy"), SOME_VIEWS[0]
    whole = frame_of(slide, view).astype(float)
    region = slice(300, 460), slice(500, 700)
    x_um, y_um = (middle * PIXEL_UM for middle in (600 - 512, 380 - 512))
    moved = type(view)(
        view.slide, view.field, view.plane, view.polarization, view.x_um + x_um, view.y_um + y_um, view.z_um
    )
    part = frame_of(slide.part(region), moved, shape=(160, 200)).astype(float)
    # The same light and the same sensor, but noise of its own: 2.2 DN an electron, and what reading adds.
    apart = (part - whole[region]) / np.sqrt(2 * (2.2 * np.maximum(whole[region] - 100, 0) + 20))
    assert abs(apart.mean()) < 0.1
    assert apart.std() < 1.5
