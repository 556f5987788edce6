import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import tifffile

from daemon.config.model import NightConfig
from daemon.emulation import export
from drivers.virtual_slide import visibility
from drivers.virtual_slide.slide import VirtualSlide
from drivers.virtual_slide.truth import TrueObject
from inference.annotations.coco import Annotation, AnnotationFile
from inference.annotations.coco_reading import read
from tests.support import emulated_stacks
from tests.support.places import SHARED_DATA
from tests.support.virtual_views import lying

SAMPLE = SHARED_DATA / "cvat-xml" / "train.xml"
FEW = {"emiliania": 8, "florisphaera": 4, "nitzschia": 2, "shard": 3}
SIDE_PX = 1024
PIXEL_UM = 0.059
CALCITE_PG_UM3 = 2.71


@pytest.fixture(scope="module", autouse=True)
def few_kinds() -> Iterator[None]:
    """Little of few kinds, so that their light is soon made where it is not yet kept."""
    with lying(FEW):
        yield


@pytest.fixture(scope="module")
def config() -> NightConfig:
    return emulated_stacks.night(frame_px=SIDE_PX, planes=3, seed=12, profile="easy")


@pytest.fixture(scope="module")
def exported(config: NightConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("truth")
    export.export(config, into, slides=[1, 3], fields=2, thickness=True)
    return into


@pytest.fixture(scope="module")
def dataset(exported: Path) -> AnnotationFile:
    return read((exported / export.COCO_FILE).read_bytes(), export.COCO_FILE).dataset


def world(config: NightConfig) -> VirtualSlide:
    assert config.instrument.emulation is not None
    return VirtualSlide(config.instrument.emulation, config.scan.slides, config.instrument.frame_px, PIXEL_UM)


def polygon(annotation: Annotation) -> np.ndarray:
    assert isinstance(annotation.segmentation, tuple)
    return np.array(annotation.segmentation[0]).reshape(-1, 2)


def test_boxes_are_tight_around_outlines_inside_the_frame(dataset: AnnotationFile) -> None:
    assert any(a.attributes["whole"] is False for a in dataset.annotations)
    for a in dataset.annotations:
        points = polygon(a)
        x, y, width, height = a.bbox
        np.testing.assert_allclose([x, y], points.min(axis=0), atol=0.01)
        np.testing.assert_allclose([x + width, y + height], points.max(axis=0), atol=0.01)
        assert points.min() >= 0
        assert points.max() <= SIDE_PX
        assert 0 < a.area <= width * height
        # An outline as long as the object is said to be, where the frame does not cut it.
        if a.attributes["whole"]:
            apart = np.hypot(*(points[:, None] - points).transpose(2, 0, 1)).max() * PIXEL_UM
            assert apart == pytest.approx(float(a.attributes["length_um"]), rel=0.02)


def test_other_programs_find_pictures_of_the_stacks_where_they_look_for_them(
    exported: Path, dataset: AnnotationFile
) -> None:
    assert (exported / export.COCO_LAYOUT).read_bytes() == (exported / export.COCO_FILE).read_bytes()
    for picture in dataset.images:
        shown = cv2.imread(str(exported / "images" / picture.file_name), cv2.IMREAD_UNCHANGED)
        assert shown is not None
        assert shown.shape == (SIDE_PX, SIDE_PX, 3)
        assert shown.dtype == np.uint8
        assert picture.stack is not None
        assert tifffile.imread(exported / picture.stack.file_name).shape == (2, 3, SIDE_PX, SIDE_PX)


def test_the_table_holds_every_object_and_says_which_is_annotated(exported: Path, dataset: AnnotationFile) -> None:
    table = pq.read_table(exported / "truth.parquet")
    assert json.loads(table.schema.metadata[b"emulation"])["seed"] == 12
    rows = table.to_pylist()
    junk = [row for row in rows if row["junk"]]
    assert {row["kind"] for row in junk} == {"shard"}
    assert all(row["annotation"] is None and not row["to_be_found"] for row in junk)
    annotated = {row["annotation"]: row for row in rows if row["annotation"] is not None}
    names = {image.id: image.file_name for image in dataset.images}
    assert len(rows) == len(junk) + len(annotated)
    assert annotated.keys() == {a.id for a in dataset.annotations}
    for a in dataset.annotations:
        row = annotated[a.id]
        assert row["image"] == names[a.image_id]
        assert (exported / row["stack"]).is_file()
        assert row["to_be_found"] == (not a.iscrowd)
        assert row["kind"] == a.attributes["kind"]
        assert row["plane"] == pytest.approx(float(a.attributes["plane"]), abs=0.001)
        if row["whole"]:
            corner = np.array(row["outline"]).max(axis=0)
            np.testing.assert_allclose(corner, [row["box_x1"], row["box_y1"]], atol=0.01)
    text = pyarrow.csv.read_csv(exported / "truth.csv")
    assert text.num_rows == table.num_rows
    assert set(table.column_names) - set(text.column_names) == {"outline", "display_outline"}
    assert text["identifier"].to_pylist() == table["identifier"].to_pylist()


def test_cvat_boxes_are_those_of_coco_in_a_structure_that_cvat_itself_writes(
    exported: Path, dataset: AnnotationFile
) -> None:
    root = ET.parse(exported / "annotations.xml").getroot()
    assert root.findtext("version") == "1.1"
    assert [e.text for e in root.iterfind("meta/task/labels/label/name")] == [c.name for c in dataset.categories]
    images = root.findall("image")
    assert [image.get("name") for image in images] == [p.file_name for p in dataset.images]
    assert [image.get("id") for image in images] == ["0", "1", "2", "3"]
    names, by_picture = {c.id: c.name for c in dataset.categories}, dataset.by_picture()
    for image, picture in zip(images, dataset.images, strict=True):
        assert (image.get("width"), image.get("height")) == (str(SIDE_PX), str(SIDE_PX))
        for box, a in zip(image.iterfind("box"), by_picture[picture.id], strict=True):
            x, y, width, height = a.bbox
            corners = [float(box.attrib[corner]) for corner in ("xtl", "ytl", "xbr", "ybr")]
            np.testing.assert_allclose(corners, [x, y, x + width, y + height], atol=0.006)
            assert box.get("label") == names[a.category_id]
            assert box.get("source") == "emulated"
            assert (box.get("occluded") == "1") == a.attributes["touching"]
            said = {e.get("name"): e.text for e in box.iterfind("attribute")}
            assert said["kind"] == a.attributes["kind"]
            assert said["whole"] == str(a.attributes["whole"]).lower()
            assert said["is_crowd"] == ("true" if a.iscrowd else "false")


@pytest.mark.skipif(not SAMPLE.is_file(), reason=f"{SAMPLE} is not there")
def test_nothing_in_the_cvat_file_is_unknown_to_a_real_export(exported: Path) -> None:
    def structure(path: Path) -> dict[tuple[str, str], set[str]]:
        pairs = [(parent, child) for parent in ET.parse(path).iter() for child in parent]
        found: dict[tuple[str, str], set[str]] = {}
        for parent, child in pairs:
            found.setdefault((parent.tag, child.tag), set()).update(child.attrib)
        return found

    ours, real = structure(exported / "annotations.xml"), structure(SAMPLE)
    # Of newer versions of the format than the sample.
    real[("image", "box")].add("source")
    real |= {
        ("task", "name"): set(),
        ("task", "size"): set(),
        ("label", "type"): set(),
        ("attribute", "mutable"): set(),
    }
    assert not ours.keys() - real.keys()
    for place, attributes in ours.items():
        assert attributes <= real[place], place
    assert real[("image", "box")] <= ours[("image", "box")]


def test_the_thickness_of_calcite_weighs_what_the_objects_weigh(config: NightConfig) -> None:
    slide = world(config)
    x, y = config.scan.slides[0].centre_um
    fields = [(x + step, y) for step in range(0, 3000, 61)]
    weighed = 0
    for x_um, y_um in fields:
        calcite = [one for one in slide.truth(1, x_um, y_um) if one.mass_pg > 0]
        if calcite and all(one.whole for one in calcite):
            total = slide.thickness_um(1, x_um, y_um).sum(dtype=np.float64) * PIXEL_UM**2 * CALCITE_PG_UM3
            assert total == pytest.approx(sum(one.mass_pg for one in calcite), rel=0.01)
            weighed += len(calcite)
    assert weighed >= 10


def test_thickness_lies_where_the_outlines_are(exported: Path, dataset: AnnotationFile) -> None:
    for picture in dataset.images:
        assert picture.stack is not None
        thickness = tifffile.imread(exported / picture.stack.file_name.replace(".ome.tif", ".thickness.tif"))
        assert thickness.shape == (SIDE_PX, SIDE_PX)
        assert thickness.dtype == np.float32
        for a in dataset.by_picture()[picture.id]:
            x0, y0 = (int(v) for v in a.bbox[:2])
            inside = thickness[y0 : y0 + int(a.bbox[3]) + 1, x0 : x0 + int(a.bbox[2]) + 1]
            if a.attributes["kind"] in ("emiliania", "florisphaera") and not a.iscrowd:
                assert inside.max() > 0.05


def true_object(**changes: object) -> TrueObject:
    square = np.array([[10.0, 10], [60, 10], [60, 60], [10, 60]])
    usual: dict[str, object] = {
        "identifier": "1", "kind": "nitzschia", "variant": 0, "angle": 0.0, "class_name": "diatom", "junk": False,
        "taxon": "nitzschia", "view": "face", "face": "", "completeness": "whole", "units": 1,
        "fragment": False, "buried": False, "outline": square, "display_outline": square, "box": (10, 10, 60, 60),
        "display_box": (10, 10, 60, 60), "x_um": 0.0, "y_um": 0.0, "z_um": 0.0, "display_z_um": 0.0,
        "depth_um": (0.0, 0.0), "length_um": 3.0, "width_um": 3.0, "thickness_um": 0.1, "mass_pg": 0.0,
        "visible_mass_pg": 0.0, "touching": False, "whole": True, "contrast_to_noise": 5.0,
        "clear_contrast_to_noise": 5.0,
    }  # fmt: skip
    return TrueObject(**{**usual, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "to_be_found"),
    [
        ({}, True),
        ({"junk": True}, False),
        ({"clear_contrast_to_noise": 1.0}, False),
        ({"buried": True}, False),
    ],
)
def test_what_no_person_could_see_has_not_to_be_found(changes: dict[str, object], to_be_found: bool) -> None:
    (seen,) = visibility.visible([true_object(**changes)], (100, 100), PIXEL_UM)
    assert seen.to_be_found is to_be_found


@pytest.mark.parametrize(("shift_px", "to_be_found"), [(-30, True), (-45, False)])
def test_a_sliver_has_not_to_be_found(shift_px: int, to_be_found: bool) -> None:
    cut = true_object(outline=true_object().outline + np.array([shift_px, 0]), whole=False)
    (seen,) = visibility.visible([cut], (100, 100), PIXEL_UM)
    assert seen.box == (0, 10, 60 + shift_px, 60)
    assert seen.to_be_found is to_be_found


def test_the_box_of_a_slanting_object_holds_only_what_the_frame_shows() -> None:
    slanting = np.array([[-50.0, 20], [50, 120], [45, 125], [-55, 25]])
    (seen,) = visibility.visible([true_object(outline=slanting, whole=False)], (100, 100), PIXEL_UM)
    # The upper side is y = x + 70, the lower one y = x + 80.
    np.testing.assert_allclose(seen.box, (0, 70, 30, 100))
    outside = slanting + np.array([0, 40])
    assert visibility.visible([true_object(outline=outside, whole=False)], (100, 100), PIXEL_UM) == []


def test_an_override_changes_what_is_given_and_nothing_else(config: NightConfig) -> None:
    changed = export.override(config, {"medium_index": 1.45, "condenser_na": None}, seed=5, profile=None, density=2.0)
    before, after = config.instrument.emulation, changed.instrument.emulation
    assert before is not None
    assert after is not None
    assert (after.seed, after.density, after.profile) == (5, 2.0, before.profile)
    assert after.mounting.medium_index == 1.45
    assert after.mounting.condenser_na == before.mounting.condenser_na
    assert after.model_copy(update={"seed": 12, "density": 1.0, "mounting": before.mounting}) == before


def test_an_opal_frustule_is_fainter_in_a_medium_of_nearly_its_own_index(config: NightConfig) -> None:
    """Contrast of a thin phase object grows with the difference of the indices."""

    def contrast(medium_index: float) -> float:
        slide = world(export.override(config, {"medium_index": medium_index}))
        x, y = config.scan.slides[0].centre_um
        return max(one.contrast_to_noise for one in slide.truth(1, x, y) if one.kind == "nitzschia")

    dense, thin = contrast(1.56), contrast(1.45)
    assert dense > 4 * thin


def test_fields_of_one_slide_are_of_different_places(dataset: AnnotationFile) -> None:
    for one, other in pairwise(dataset.by_picture().values()):
        assert [a.bbox for a in one] != [a.bbox for a in other]
