import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from PIL import Image

from drivers.errors import ImageRefused, OutsideWindow, SettingRefused
from drivers.microscope import Exposure, ReplayedFile, Sweep
from drivers.open import open_microscope
from drivers.recorded.recording import read_recording
from drivers.recorded.replay import check_recording
from drivers.settings import Instrument, Replay
from tests.support.instruments import expose, instrument, ready, slides

HEIGHT, WIDTH = 64, 80
PLANE_PATTERN = "field{field}-c{polarization}-z{z}.tif"
ONE = {"parallel": {"group": "Polarization", "preset": "Parallel", "exposure_ms": 20}}


def coded(field: int, states: int = 2, planes: int = 5) -> np.ndarray:
    """A stack whose every pixel tells its field, polarization, plane, and place."""
    c, z, y, x = np.indices((states, planes, HEIGHT, WIDTH))
    return np.asarray(field * 10_000 + c * 5_000 + z * 300 + (y + x), np.uint16)


def write_planes(folder: Path, fields: int, states: int = 2, planes: int = 5) -> None:
    for field in range(1, fields + 1):
        for c in range(states):
            for z in range(planes):
                # Not padded: 10 must come after 9.
                path = folder / f"field{field}-c{'ab'[c]}-z{z + 7}.tif"
                tifffile.imwrite(path, coded(field, states, planes)[c, z])


def replaying(folder: Path, **changes: Any) -> Instrument:
    replay = {"folder": folder, "planes": PLANE_PATTERN, **changes.pop("replay", {})}
    values = {"backend": "replay", "frame_px": (HEIGHT, WIDTH), "emulation": None, "hardware": None, "replay": replay}
    return instrument(**{**values, **changes})


def sweep(planes: int, states: tuple[str, ...] = ("crossed", "parallel")) -> Sweep:
    return Sweep(-1.0, 0.5, planes, states, tuple(range(len(states))))


def test_planes_come_in_order_field_after_field(tmp_path: Path) -> None:
    write_planes(tmp_path, fields=2)
    scope = ready(open_microscope(replaying(tmp_path), slides()))
    for field in (1, 2):
        stack, frames = expose(scope, sweep(5), field=field)
        assert_array_equal(stack, coded(field))
        assert [(f.c, f.z) for f in frames] == [(c, z) for c in (0, 1) for z in range(5)]
    stack, _ = expose(scope, Sweep(-1.0, 0.5, 5, ("parallel", "crossed"), (1, 0)), field=1)
    assert_array_equal(stack, coded(1))
    with pytest.raises(ImageRefused, match="holds 2"):
        expose(scope, sweep(5), field=3)


@pytest.mark.parametrize(
    "asked",
    [{"lit": False}, {"exposures_ms": (1.0, 1.0)}, {"step_um": 0.0}, {"step_um": -0.5}],
    ids=lambda a: next(iter(a)),
)
def test_what_was_not_recorded_cannot_be_exposed(tmp_path: Path, asked: dict[str, Any]) -> None:
    write_planes(tmp_path, fields=1)
    with pytest.raises(SettingRefused, match="calibrate on the microscope itself"):
        expose(ready(open_microscope(replaying(tmp_path), slides())), replace(sweep(5), **asked))


def test_fewer_planes_are_spread_over_the_recorded_ones(tmp_path: Path) -> None:
    write_planes(tmp_path, fields=1)
    stack, _ = expose(ready(open_microscope(replaying(tmp_path), slides())), sweep(3))
    assert_array_equal(stack, coded(1)[:, ::2])


@pytest.mark.parametrize(("axes", "states"), [("CZYX", 2), ("ZCYX", 2), ("ZYX", 1), ("TCZYX", 2), ("CZYX", 1)])
def test_stacks_are_read_whatever_the_order_of_their_axes(tmp_path: Path, axes: str, states: int) -> None:
    for field in (1, 2):
        pixels = coded(field, states)
        pixels = pixels.transpose(1, 0, 2, 3) if axes.startswith("ZC") else pixels
        pixels = pixels[0] if axes == "ZYX" else pixels[None] if axes.startswith("T") else pixels
        tifffile.imwrite(tmp_path / f"{field}.ome.tif", pixels, metadata={"axes": axes}, ome=True)
    changes = {"polarizations": ONE} if states == 1 else {}
    replay = {"planes": "{field}.ome.tif"}
    scope = ready(open_microscope(replaying(tmp_path, replay=replay, **changes), slides()))
    names = ("parallel",) if states == 1 else ("crossed", "parallel")
    stack, _ = expose(scope, sweep(5, names), field=2)
    assert_array_equal(stack, coded(2, states))


def test_a_plain_multipage_tiff_is_a_stack_of_planes(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", coded(1, 1)[0], photometric="minisblack")
    replay = {"planes": None}
    scope = ready(open_microscope(replaying(tmp_path, replay=replay, polarizations=ONE), slides()))
    stack, _ = expose(scope, sweep(5, ("parallel",)))
    assert_array_equal(stack, coded(1, 1))


def test_a_slide_group_gives_each_mini_slide_its_own_fields(tmp_path: Path) -> None:
    for slide in (1, 2):
        tifffile.imwrite(tmp_path / f"s{slide}-f1.tif", coded(slide, 1)[0], photometric="minisblack")
    recording = read_recording(Replay(folder=tmp_path, planes="s{slide}-f{field}.tif"), ("parallel",))
    assert_array_equal(recording.read(2, 1).pixels, coded(2, 1))
    assert_array_equal(recording.read(1, 1).pixels, coded(1, 1))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"frame_px": (64, 64)}, r"instrument\.frame_px is \[64, 64\].*\[64, 80\]"),
        ({"polarizations": ONE}, r"it has 2 channels, named 'a', 'b'; say which"),
        ({"replay": {"planes": "{field}.png"}}, r"no file that fits instrument\.replay\.planes '\{field\}\.png'"),
        ({"replay": {"planes": "*.tif"}}, r"instrument\.replay\.planes '\*\.tif' must hold"),
        ({"replay": {"planes": "*c{polarization}-z{z}.tif"}}, "plane 7 of crossed is there twice"),
        ({"replay": {"polarizations": ["crossed=LR"]}}, r"such as instrument\.replay\.polarizations: \[crossed=a"),
        ({"replay": None}, r"instrument\.replay is missing"),
    ],
)
def test_what_does_not_fit_the_recording_is_refused(tmp_path: Path, changes: Any, told: str) -> None:
    write_planes(tmp_path, fields=2)
    configured = replaying(tmp_path, **{k: v for k, v in changes.items() if v is not None})
    if changes.get("replay", ...) is None:
        configured = configured.model_copy(update={"replay": None})
    with pytest.raises(SettingRefused, match=told):
        open_microscope(configured, slides())


def test_a_missing_plane_and_too_much_asked_are_refused(tmp_path: Path) -> None:
    write_planes(tmp_path, fields=2)
    configured = replaying(tmp_path)
    assert configured.replay is not None
    recording = read_recording(configured.replay, ("crossed", "parallel"))
    recording.check(configured, planes=5, fields=2)
    with pytest.raises(SettingRefused, match=r"scan\.planes is 6"):
        recording.check(configured, planes=6)
    with pytest.raises(SettingRefused, match=r"scan\.fields is 3"):
        recording.check(configured, fields=3)
    (tmp_path / "field2-ca-z9.tif").unlink()
    with pytest.raises(SettingRefused, match=r"'field2-ca-z7.tif' of .*: plane 9 of crossed is missing"):
        read_recording(configured.replay, ("crossed", "parallel"))


def test_limits_hold_in_replay_too(tmp_path: Path) -> None:
    write_planes(tmp_path, fields=1)
    scope = open_microscope(replaying(tmp_path), slides())
    with pytest.raises(OutsideWindow):
        scope.focus(0.0)
    ready(scope)
    into = np.zeros((2, 5, HEIGHT, WIDTH), np.uint16)
    with pytest.raises(OutsideWindow):
        scope.expose_stack(Exposure(1, 1), Sweep(58.5, 0.5, 5, ("crossed",), (0,)), into, lambda _frame: None)
    assert not into.any()
    scope.close()
    assert scope.position().z_um == -280


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(12)))
def test_planes_are_sorted_by_number(tmp_path_factory: Any, order: list[int]) -> None:
    folder = tmp_path_factory.mktemp("planes")
    for z in order:
        tifffile.imwrite(folder / f"plane-{z}.tif", np.full((64, 64), z, np.uint16))
    recording = read_recording(Replay(folder=folder, planes="plane-{z}.tif"), ("parallel",))
    assert recording.read(1, 1).pixels[0, :, 0, 0].tolist() == list(range(12))


def test_pictures_can_be_replayed_and_their_files_are_told(tmp_path: Path) -> None:
    for z in range(-2, 3):
        Image.fromarray(np.full((HEIGHT, WIDTH), 100 + z, np.uint8)).save(tmp_path / f"f1_z{z}.png")
    scope = ready(
        open_microscope(replaying(tmp_path, replay={"planes": "{field}_z{z}.png"}, polarizations=ONE), slides())
    )
    before = scope.sources
    assert before == ()
    stack, _ = expose(scope, sweep(5, ("parallel",)))
    assert stack[0, :, 0, 0].tolist() == [98, 99, 100, 101, 102]
    first = hashlib.sha256((tmp_path / "f1_z-2.png").read_bytes()).hexdigest()
    assert scope.sources[0] == ReplayedFile("f1_z-2.png", first)
    assert len(scope.sources) == 5


def test_every_file_is_looked_at_before_the_night(tmp_path: Path) -> None:
    write_planes(tmp_path, fields=3)
    configured = replaying(tmp_path)
    assert check_recording(configured, planes=5, fields=3) == ()
    (told,) = check_recording(configured, planes=5, fields=2)
    assert told.endswith("holds 3 fields; scan.fields takes the first 2")
    tifffile.imwrite(tmp_path / "field3-cb-z9.tif", np.zeros((HEIGHT, WIDTH - 1), np.uint16))
    with pytest.raises(
        SettingRefused, match=r"'field3-ca-z7.tif' .*its plane 'field3-cb-z9.tif' is 1 x 1 x 64 x 79 px"
    ):
        check_recording(configured, planes=5, fields=3)
    for path in tmp_path.glob("field3-*-z11.tif"):
        path.unlink()
    tifffile.imwrite(tmp_path / "field3-cb-z9.tif", coded(3)[1, 2])
    with pytest.raises(SettingRefused, match=r"'field1-ca-z7.tif' is 2 x 5 x 64 x 80 .*'field3-ca-z7.tif' is 2 x 4 x"):
        check_recording(configured, planes=4, fields=3)


def test_an_image_that_is_not_whole_keeps_its_place_among_those_of_its_file(tmp_path: Path) -> None:
    images = [coded(field, 1)[0] for field in (1, 2, 3)]
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        for nth, pixels in enumerate(images):
            writer.write(pixels, metadata={"axes": "ZYX", "Name": f"core {nth}"}, photometric="minisblack")
    xml = str(tifffile.tiffcomment(tmp_path / "a.ome.tif"))
    planes = 'SizeZ="5"'
    # The first image says one plane more than there is.
    assert xml.count(planes) == len(images)
    tifffile.tiffcomment(tmp_path / "a.ome.tif", xml.replace(planes, 'SizeZ="6"', 1).encode())
    configured = replaying(tmp_path, replay={"planes": None}, polarizations=ONE)
    told = "'a.ome.tif', core 0 is not whole, so its field will be skipped: 1 of its 6 planes are missing; complete it"
    assert check_recording(configured, planes=5, fields=3) == (told,)
    scope = ready(open_microscope(configured, slides()))
    assert scope.identity.notes == (told,)
    with pytest.raises(
        ImageRefused, match=r"field 1 of mini-slide 1 cannot be read: 'a\.ome\.tif', core 0: 1 of its 6"
    ):
        expose(scope, sweep(5, ("parallel",)), field=1)
    for field in (2, 3):
        assert_array_equal(expose(scope, sweep(5, ("parallel",)), field=field)[0][0], images[field - 1])
    # Of a file without any that is whole nothing can be replayed.
    tifffile.tiffcomment(tmp_path / "a.ome.tif", xml.replace(planes, 'SizeZ="6"').encode())
    with pytest.raises(SettingRefused, match=r"'a\.ome\.tif', core 0 of .*complete it or move it away"):
        check_recording(configured, planes=5, fields=3)


def test_channels_are_told_apart_by_their_names_and_else_by_their_order(tmp_path: Path) -> None:
    pixels = coded(1)
    named = {"axes": "CZYX", "Channel": {"Name": ["LL", "LR"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels[::-1], metadata=named, ome=True)
    replay = Replay(folder=tmp_path, polarizations=("parallel=LL", "crossed=LR"))
    assert_array_equal(read_recording(replay, ("crossed", "parallel")).read(1, 1).pixels, pixels)
    unsaid = read_recording(Replay(folder=tmp_path), ("crossed", "parallel"))
    assert_array_equal(unsaid.read(1, 1).pixels, pixels[::-1])
    (note,) = unsaid.notes
    assert note.startswith(
        "the channels 'LL', 'LR' are taken as crossed, parallel, by their order; instrument.replay.pol"
    )


def test_what_lies_beside_a_recording_is_noted(tmp_path: Path) -> None:
    write_planes(tmp_path, fields=1)
    (tmp_path / "film.mp4").write_bytes(b"\0")
    tifffile.imwrite(tmp_path / "overview.tif", np.zeros((8, 8), np.uint16))
    assert open_microscope(replaying(tmp_path), slides()).identity.notes == (
        "left out of the recording: film.mp4: its suffix '.mp4' is none that is read",
        f"left out of the recording: overview.tif: its name does not fit instrument.replay.planes {PLANE_PATTERN!r}",
    )


def test_the_slide_of_a_name_is_a_position_on_the_holder(tmp_path: Path) -> None:
    for slide in ("01", "2"):
        tifffile.imwrite(tmp_path / f"s{slide}.tif", coded(int(slide), 1)[0], photometric="minisblack")
        (tmp_path / f"s{slide}").mkdir()
        (tmp_path / f"s{slide}.tif").rename(tmp_path / f"s{slide}" / "f1.tif")
    replay = Replay(folder=tmp_path, planes="s{slide}/{field}.tif")
    recording = read_recording(replay, ("parallel",))
    assert_array_equal(recording.read(1, 1).pixels, coded(1, 1))
    assert_array_equal(recording.read(2, 1).pixels, coded(2, 1))
    (tmp_path / "s2").rename(tmp_path / "s9")
    with pytest.raises(SettingRefused, match=r"'s9/f1.tif' .* is of slide '9' .* 1 to 8"):
        read_recording(replay, ("parallel",))
