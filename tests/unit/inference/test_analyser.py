import numpy as np
import pytest
from numpy.typing import NDArray

from daemon.config.model import NightConfig
from drivers.virtual_slide.truth import TrueObject
from drivers.virtual_slide.visibility import is_hidden
from inference.analyser import Analyser
from inference.objects.merging import overlaps
from inference.objects.objects import StackAnalysis
from inference.settings import CropSettings, DetectorSettings, FocusSettings
from tests.support import emulated_stacks

Field = tuple[NDArray[np.uint16], list[tuple[float, TrueObject]]]


@pytest.fixture(scope="module")
def config() -> NightConfig:
    return emulated_stacks.night(seed=4711)


@pytest.fixture(scope="module")
def fields(config: NightConfig) -> list[Field]:
    return [emulated_stacks.stack(config, 8, shift) for shift in (0.0, 500.0)]


@pytest.fixture(scope="module")
def small() -> NDArray[np.uint16]:
    pixels, _ = emulated_stacks.stack(emulated_stacks.night(frame_px=450, planes=5, seed=12), 3, 0.0)
    return pixels


def analyser(
    mode: str = "fused", polarizations: tuple[str, ...] = ("crossed", "parallel"), runtime: str = "torch"
) -> Analyser:
    """Analyse with torch, which needs no model of each size; that other runtimes find the same is tested elsewhere."""
    settings = DetectorSettings.model_validate({"mode": mode, "runtime": runtime})
    return Analyser(settings, CropSettings(margin_um=0.6), FocusSettings(), 0.059, polarizations)


def assert_same(one: StackAnalysis, other: StackAnalysis) -> None:
    assert len(one.objects) == len(other.objects) > 0
    for a, b in zip(one.objects, other.objects, strict=True):
        assert (a.box, a.crop_box, a.class_name, a.score, a.best_plane) == (
            b.box,
            b.crop_box,
            b.class_name,
            b.score,
            b.best_plane,
        )
        for name in ("sharpness", "crop", "fused"):
            assert getattr(a, name).tobytes() == getattr(b, name).tobytes()
    assert one.focus.sharpness.tobytes() == other.focus.sharpness.tobytes()
    assert one.overview.tobytes() == other.overview.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fused", "planes"])
def test_most_of_the_truth_is_found_on_a_seed_and_slide_never_trained_on(fields: list[Field], mode: str) -> None:
    """Both modes, shipped weights: recall and precision at the default threshold, class included."""
    detector = analyser(mode, runtime="auto")
    true = found = right = 0
    errors = []
    for pixels, truth in fields:
        objects = [o for o in detector.analyse(pixels).objects if not o.below_threshold]
        found += len(objects)
        boxes = np.array([o.box for o in objects], np.float32).reshape(-1, 4)
        for plane, known in truth:
            if known.junk or is_hidden(known) or min(np.subtract(known.box[2:], known.box[:2])) < 17:
                continue
            true += 1
            iou = overlaps(np.array(known.box, np.float32), boxes)
            if iou.max(initial=0) > 0.5 and objects[int(iou.argmax())].class_name == known.class_name:
                right += 1
                errors.append(abs(objects[int(iou.argmax())].best_plane - plane))
    assert true > 20
    assert right / true > 0.85
    assert right / found > 0.75
    assert np.median(errors) < 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fused", "planes"])
def test_the_same_stack_gives_the_same_bytes(small: NDArray[np.uint16], mode: str) -> None:
    detector = analyser(mode)
    first = detector.analyse(small)
    detector.analyse(small[:, :, ::-1].copy())
    assert_same(first, detector.analyse(small))
    assert_same(first, analyser(mode).analyse(small))


def test_planes_that_land_in_any_order_and_again_give_what_the_whole_stack_gives(small: NDArray[np.uint16]) -> None:
    detector = analyser()
    whole = detector.analyse(small)
    slot = np.zeros_like(small)
    session = detector.open(slot)
    order = np.random.default_rng(1).permutation(list(np.ndindex(small.shape[:2])))
    for c, z in [*order, order[0]]:
        slot[c, z] = small[c, z]
        session.add(int(c), int(z))
    assert_same(whole, session.finish())


def test_the_result_outlives_the_stack(small: NDArray[np.uint16]) -> None:
    slot = small.copy()
    result = analyser().analyse(slot)
    slot[:] = 0
    for found in result.objects:
        x0, y0, x1, y1 = found.crop_box
        np.testing.assert_array_equal(found.crop, small[:, :, y0:y1, x0:x1])


def test_a_fused_crop_holds_pixels_of_one_plane_for_both_polarizations(small: NDArray[np.uint16]) -> None:
    c, z, _, _ = np.indices(small.shape, np.uint16)
    detector = analyser()
    slot = small.copy()
    session = detector.open(slot)
    for channel, plane in np.ndindex(small.shape[:2]):
        session.add(channel, plane)
    slot[:] = 1000 * c + z
    result = session.finish()
    assert result.objects
    for found in result.objects:
        assert found.fused.shape == (2, *found.crop.shape[2:])
        assert found.fused[0].max() < small.shape[1]
        np.testing.assert_array_equal(found.fused[1], found.fused[0] + 1000)


def test_what_scores_below_the_threshold_is_kept_and_flagged(small: NDArray[np.uint16]) -> None:
    settings = DetectorSettings(threshold=0.9, keep_above=0.1, runtime="torch")
    found = Analyser(settings, CropSettings(), FocusSettings(), 0.059, ("crossed", "parallel")).analyse(small).objects
    assert all(o.score >= 0.1 for o in found)
    assert all(o.below_threshold == (o.score < 0.9) for o in found)


def test_a_stack_of_one_polarization_and_a_single_plane_is_analysed(small: NDArray[np.uint16]) -> None:
    result = analyser(polarizations=("parallel",)).analyse(small[1:, :1])
    assert result.focus.sharpness.shape == (1,)


@pytest.mark.parametrize("level", [0, 100, 65535])
def test_a_stack_without_any_structure_is_blank_and_empty(level: int) -> None:
    result = analyser().analyse(np.full((2, 5, 256, 320), level, np.uint16))
    assert result.focus.best_plane is None
    assert not [o for o in result.objects if not o.below_threshold]


def test_an_empty_slide_is_blank_and_empty() -> None:
    pixels, _ = emulated_stacks.stack(emulated_stacks.night(frame_px=512, profile="blank"), 8, 0.0)
    result = analyser().analyse(pixels)
    assert result.focus.best_plane is None
    assert not [o for o in result.objects if not o.below_threshold]


def test_a_missing_plane_and_a_wrong_number_of_polarizations_are_refused(small: NDArray[np.uint16]) -> None:
    session = analyser().open(small)
    session.add(0, 0)
    with pytest.raises(ValueError, match="plane 1 of polarization 0 was not added"):
        session.finish()
    with pytest.raises(ValueError, match="the stack has 2 polarizations"):
        analyser(polarizations=("parallel",)).open(small)


def test_a_frame_in_focus_is_sharper_than_one_out_of_focus(small: NDArray[np.uint16]) -> None:
    detector = analyser()
    for c in range(2):
        assert detector.sharpness(small[c, 2]) > 1.5 * detector.sharpness(small[c, 0])
