"""Calibrations carried out by real processes on the emulated microscope: whole ones, and disturbed ones."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
import signal
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tifffile
import yaml
from rich.console import Console

from calibration.record import CalibrationRecord
from calibration.steps import NotUsable, Outcome, Quantity, Routine, Shot
from daemon.calibration_runs.routines import ROUTINES, Procedure
from daemon.calibration_runs.run import calibrate
from daemon.calibration_runs.shots import Shots
from daemon.calibration_runs.shots import carry_out as carry_out_shots
from daemon.calibration_store.shelf import UNPROVEN, Shelf, choose, proven
from daemon.children.hold import sole_use
from daemon.children.microscope_link import MicroscopeLink
from daemon.config.loading import freeze, load
from daemon.config.model import NightConfig
from daemon.dataset.reader import Dataset
from daemon.system.errors import Exit, Refused
from daemon.system.locks import sole_on
from daemon.system.process_table import read_processes
from daemon.system.ring import Ring, ring_name
from drivers.settings import MiniSlide, PolarizerErrors
from drivers.virtual_slide.optics.camera import DN_PER_ELECTRON, OFFSET_DN
from drivers.virtual_slide.optics.polarizers import CROSSED, PARALLEL, PolarizedLight, Polarizers
from tests.support.deadlines import DEADLINE_S
from tests.support.emulated_night import lamelle, running, write_configuration
from tests.support.process_logs import SAFE_WITHIN_S, log, safe_after, times, wait_for
from tests.support.small_disk import small_disk

SHORT = {"move_s": 1.0, "focus_s": 0.3, "switch_s": 0.3, "frame_s": 0.3}


def configuration(folder: Path, emulation: dict[str, Any] | None = None, **parts: Any) -> Path:
    """A small instrument with short deadlines, and its calibrations in the same folder."""
    instrument = {"deadlines": SHORT, **parts.pop("instrument", {})}
    config = write_configuration(folder, slides=2, fields=1, frame_px=128, emulation=emulation, **parts)
    content = config.read_text(encoding="utf-8")
    values = yaml.safe_load(content)
    values["instrument"].update(instrument)
    values["calibration"] = {"folder": "shelf", "valid_days": {"dark": 2}}
    config.write_text(yaml.safe_dump(values), encoding="utf-8")
    return config


def carry_out(config: Path, routine: str, **how: Any) -> tuple[Exit, str, CalibrationRecord]:
    """Calibrate in this process, the microscope in its own; exit status, what was printed, and the record."""
    night = load(config)
    console = Console(file=io.StringIO(), width=200)
    status = calibrate(
        night, routine, how.pop("slide", None), keep_frames=how.pop("keep_frames", False), console=console
    )
    newest = Shelf(night.calibration.folder).kept()[0].record
    assert newest is not None
    stream = console.file
    assert isinstance(stream, io.StringIO)
    left_safe(night)
    return status, stream.getvalue(), newest


def left_safe(night: NightConfig) -> None:
    """Nothing of a calibration lives, and the last thing the microscope did was to make safe."""
    folder = night.calibration.folder
    assert read_processes(folder)["microscope"].find() is None
    with pytest.raises(FileNotFoundError):
        SharedMemory(ring_name(folder))
    microscope = [line["message"] for line in log(folder, "microscope")]
    # The thread whose exposure was cut off may say so after the one that made safe has.
    since = microscope[len(microscope) - microscope[::-1].index("safe") :]
    assert [said for said in since if "the microscope was made safe meanwhile" not in said] == []


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[NightConfig, MiniSlide], Routine]], str]:
    """Put a routine of the test into the registry."""

    def register(
        make: Callable[[NightConfig, MiniSlide], Routine], deadline_s: float = 30.0, name: str = "trial"
    ) -> str:
        def begin(config: NightConfig, slide: MiniSlide, _full_dn: int) -> Routine:
            return make(config, slide)

        monkeypatch.setitem(ROUTINES, name, Procedure("of a test", begin, 4, deadline_s, 1.0))
        return name

    return register


def test_a_calibration_from_the_command_line_leaves_a_record_that_nights_use(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    done = lamelle("calibrate", "dark", config, "--keep-frames", "--slide", "2")
    assert done.returncode == 0, done.stderr
    assert "dark: usable" in done.stdout
    assert carry_out(config, "camera")[0] == Exit.COMPLETE
    night = load(config)
    shelf = night.calibration.folder
    kept = {one.routine: one for one in Shelf(shelf).kept()}
    record, arrays = Shelf(shelf).load(kept["dark"].name)
    assert record.values["offset"].value == pytest.approx(OFFSET_DN, abs=0.2)
    assert record.slide == 2
    assert record.frame_px == (128, 128)
    assert (record.valid_until - record.taken).days == 2
    assert record.configuration_sha256 == hashlib.sha256(freeze(night).encode()).hexdigest()
    assert {"lamelle", "python", "mmpycorex", "core"} <= set(record.versions)
    assert arrays["offset_dn"].shape == (128, 128)
    assert (shelf / f"{kept['dark'].name}.png").read_bytes().startswith(b"\x89PNG")
    for shot in record.shots:
        frames = tifffile.imread(shelf / shot.file)
        assert hashlib.sha256(frames.astype("<u2").tobytes()).hexdigest() == shot.sha256
        assert np.median(frames) == OFFSET_DN
    camera = Shelf(shelf).load(kept["camera"].name)[0]
    assert camera.values["gain"].value == pytest.approx(DN_PER_ELECTRON, rel=0.02)
    assert {shot.file for shot in camera.shots} == {""}
    listed = lamelle("calibrate", "--list", config).stdout
    assert kept["dark"].name in listed
    assert kept["camera"].name in listed
    assert "missing: there is no calibration of flat" in listed
    left_safe(night)


def test_the_camera_steps_the_focus_drive_only_once_that_was_seen_to_be_true(tmp_path: Path) -> None:
    emulation = {"profile": "coccolith", "density": 3.0, "trigger": "true"}
    motion = {"withdrawn_z_um": -280, "z_sequence": True}
    config = configuration(tmp_path, emulation=emulation, instrument={"motion": motion})
    status, said, record = carry_out(config, "trigger")
    assert status == Exit.COMPLETE, said
    assert record.values["planes"].value == load(config).scan.planes
    notes = [line["message"] for line in log(load(config).calibration.folder, "microscope")]
    assert notes.count(UNPROVEN) == 1
    assert proven(load(config)) == (load(config).instrument, ())


def test_a_night_names_its_calibrations_and_keeps_to_them(tmp_path: Path) -> None:
    config = configuration(tmp_path, emulation={"profile": "blank"})
    first = carry_out(config, "dark")[2]
    run = tmp_path / "run"
    done = lamelle("scan", config, "--run", run)
    assert done.returncode in (Exit.COMPLETE, Exit.SKIPPED), done.stderr
    carry_out(config, "dark")
    name = Shelf(load(config).calibration.folder).kept()[1].name
    with Dataset.open(run) as dataset:
        night = dataset.night()
        assert night is not None
        assert night.calibrations == (name,)
        (told,) = [event.message for event in dataset.events() if event.name == "calibration"]
    assert "no calibration of flat, camera, polarization, pixel-size" in told
    assert choose(load(config)).names != (name,)
    record = load(config).calibration.folder / f"{name}.json"
    changed = record.read_text(encoding="utf-8").replace(f'"{first.camera}"', '"another"')
    record.write_text(changed, encoding="utf-8")
    refused = lamelle("scan", config, "--run", run, "--resume")
    assert refused.returncode == Exit.REFUSED
    assert f"the calibration {name} in" in refused.stderr
    assert "seal is broken" in refused.stderr


@pytest.mark.parametrize(
    ("routine", "emulation", "told"),
    [
        ("flat", {"lamp": {"power": 0}}, "check lamp, shutter"),
        ("flat", {"lamp": {"power": 5}}, "is saturated at 65535 DN"),
        ("polarization", {"sensor": {"bits": 12}, "lamp": {"power": 5}}, "saturated at 4095 DN"),
        ("steps", {"faults": [{"kind": "stage_stuck", "fields": [1], "attempts": None}]}, "shot 1 .*Z stands"),
        ("dark", {"faults": [{"kind": "hang", "fields": [2], "attempts": None}]}, "shot 2 .*did not answer within"),
        ("dark", {"faults": [{"kind": "die", "fields": [2], "attempts": None}]}, "shot 2 .*died"),
        ("flat", {"faults": [{"kind": "preset_missed", "fields": [1], "attempts": None}]}, "shot 1 .*reads back"),
        ("flat", {"faults": [{"kind": "saturated_frame", "fields": [2], "attempts": None}]}, "saturated at 65535 DN"),
    ],
    ids=[
        "lamp off",
        "saturated",
        "12 bits",
        "stage stuck",
        "hang",
        "died",
        "polarizer stuck",
        "camera full",
    ],
)
def test_what_befalls_a_calibration_leaves_the_hardware_safe_and_nothing_valid(
    registered: Any, routine: str, emulation: dict[str, Any], told: str, tmp_path: Path
) -> None:
    registered(one_shot(), name="steps")
    config = configuration(tmp_path, emulation, retry={"attempts": 1})
    status, printed, record = carry_out(config, routine)
    assert status == Exit.FAULT
    assert record.verdict == "not usable"
    assert (record.values, record.arrays, record.picture) == ({}, None, None)
    assert re.search(told, record.reason), record.reason
    assert f"{routine}: not usable, {record.reason}" in printed
    assert routine not in choose(load(config)).records


ASKEW = {"rotation_deg": 0.8, "pixel_scale": 1.004, "xy_repeatability_um": 0.05}
LEAKING = PolarizedLight((1, 1), Polarizers.of(PolarizerErrors()))
LEAKAGE = LEAKING.empty(CROSSED) / LEAKING.empty(PARALLEL)


@pytest.mark.parametrize(
    ("routine", "expected"),
    [
        pytest.param(
            "pixel-size", {"pixel": (0.059 * 1.004, 0.06e-3), "rotation": (0.8, 0.05)}, marks=pytest.mark.long
        ),
        pytest.param("z", {"backlash": (0.6, 0.1)}, marks=pytest.mark.long),
        ("polarization", {"leakage": (LEAKAGE, max(0.1 * LEAKAGE, 5e-5))}),
    ],
)
def test_the_stages_and_the_polarizers_are_found_by_real_processes(
    routine: str, expected: dict[str, tuple[float, float]], tmp_path: Path
) -> None:
    config = write_configuration(
        tmp_path,
        slides=1,
        frame_px=512,
        emulation={"misalignment": ASKEW, "profile": "easy", "density": 3.0, "lamp": {"power": 0.6}},
        calibration={"folder": "shelf"},
    )
    status, told, record = carry_out(config, routine)
    assert status is Exit.COMPLETE, told
    for name, (value, tolerance) in expected.items():
        assert record.values[name].value == pytest.approx(value, abs=tolerance)
    assert record.picture is not None


def test_a_stage_micrometer_is_read_by_real_processes(tmp_path: Path) -> None:
    emulation = {
        "misalignment": {**ASKEW, "xy_backlash_um": [0.6, 0.9]},
        "micrometer": {"pitch_um": 5.0, "line_um": 1.5, "angle_deg": 30.0},
        "lamp": {"vignette": 0.2},
    }
    config = write_configuration(
        tmp_path,
        slides=1,
        frame_px=512,
        emulation=emulation,
        calibration={"folder": "shelf", "targets": {"micrometer_um": 5.0}},
    )
    status, told, record = carry_out(config, "micrometer")
    assert status is Exit.COMPLETE, told
    for name, value, tolerance in (("pixel", 0.059 * 1.004, 0.06e-3), ("angle", 30.0, 0.05)):
        found = record.values[name]
        assert found.value == pytest.approx(value, abs=tolerance)
        assert abs(found.value - value) < 3 * found.uncertainty
    assert record.picture is not None


def test_a_fault_that_passes_costs_one_attempt(tmp_path: Path) -> None:
    faults = [{"kind": kind, "fields": [n], "attempts": 1} for n, kind in enumerate(("dropped_frame", "die"), 2)]
    status, printed, record = carry_out(configuration(tmp_path, {"faults": faults}), "dark")
    assert status == Exit.COMPLETE
    assert record.usable
    assert "shot 2: " in printed
    assert "frame lost" in printed
    assert "microscope restarted" in printed
    assert len(record.shots) == 5


def one_shot(**changes: Any) -> Callable[[NightConfig, MiniSlide], Routine]:
    def make(_config: NightConfig, slide: MiniSlide) -> Routine:
        yield replace(Shot(*slide.centre_um, 0.0, 0.5, 3, ("parallel",)), **changes)
        return Outcome({"a": Quantity(1.0, 0.1, "um")})

    return make


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"x_um": 40_000.0}, "x of 40000.00 um lies outside mini-slide 1"),
        ({"x_um": -5.0}, "outside the stage's travel"),
        ({"first_z_um": 59.5}, "z of 60.50 um lies outside the z window"),
        ({"first_z_um": 59.5, "step_um": -0.5}, "z of 61.50 um lies outside the z window"),
        ({"planes": 5}, "5 planes are wanted, and there is room for 4"),
        ({"polarizations": ("oblique",)}, "oblique"),
        ({"exposures_ms": (1e6,)}, "exposures are"),
        ({"exposures_ms": (1.0, 2.0)}, "exposures are"),
        ({"wait_s": 1e6}, "a wait of 1e"),
    ],
)
def test_what_a_routine_may_not_ask_is_never_sent(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    config = load(configuration(tmp_path))
    slide = config.scan.slides[0]
    # A child that was never started: whatever were sent would end the test.
    link = MicroscopeLink(lambda: pytest.fail("sent"), 1.0, 1.0, lambda *_: None)
    with closing(Ring.create(tmp_path, 1, (2, 4, 128, 128))) as ring:
        shots = Shots(config, slide, link, ring, None, lambda _: None)
        routine = one_shot(**changes)(config, slide)
        with pytest.raises(NotUsable, match="asked for a shot that cannot be taken") as refused:
            asyncio.run(carry_out_shots(routine, shots, lambda *_: None))
        assert told in str(refused.value)
        assert shots.taken == []


def test_a_shot_that_leaves_the_mini_slide_ends_a_calibration(registered: Any, tmp_path: Path) -> None:
    config = configuration(tmp_path)
    status, _, record = carry_out(config, registered(one_shot(x_um=40_000.0)))
    assert status == Exit.FAULT
    assert "x of 40000.00 um lies outside mini-slide 1" in record.reason
    assert record.shots == ()
    assert not times(load(config).calibration.folder, "exposing")


def test_shots_show_where_the_stage_stands_when_frames_were_read_and_what_was_asked(
    registered: Any, tmp_path: Path
) -> None:
    seen: list[Any] = []

    def make(_config: NightConfig, slide: MiniSlide) -> Routine:
        x_um, y_um = slide.centre_um
        shown = yield Shot(x_um + 20, y_um - 30, 1.0, -0.5, 4, ("parallel", "crossed"), (5.0, 40.0))
        seen.append((shown.x_um - x_um, shown.y_um - y_um, shown.stack.copy(), shown.monotonic_s))
        shown = yield Shot(x_um, y_um, 1.0, 0.0, 2, ("parallel",), (5.0,), lit=False)
        seen.append(shown.stack.copy())
        return Outcome({"a": Quantity(np.float64(1.5), 0.25, "um")})

    status, printed, record = carry_out(configuration(tmp_path), registered(make))
    assert status == Exit.COMPLETE
    assert "a  1.50 ± 0.25 um" in printed
    x_um, y_um, stack, read_s = seen[0]
    assert (x_um, y_um) == pytest.approx((20, -30), abs=0.1)
    assert np.median(stack[0]) - OFFSET_DN == pytest.approx(5 * 1500, rel=0.15)
    assert read_s.shape == (2, 4)
    assert (np.diff(read_s.ravel()) > 0).all()
    assert np.median(seen[1]) == OFFSET_DN
    assert [(shot.step_um, shot.exposures_ms, shot.lit) for shot in record.shots] == [
        (-0.5, (5.0, 40.0), True),
        (0.0, (5.0,), False),
    ]


@pytest.mark.parametrize("kind", ["too slow", "no number", "says so"])
def test_a_routine_that_does_not_end_well_is_not_usable(registered: Any, kind: str, tmp_path: Path) -> None:
    def make(_config: NightConfig, slide: MiniSlide) -> Routine:
        shot = Shot(*slide.centre_um, 0.0, 0.0, 1, ("parallel",))
        yield shot
        while kind == "too slow":
            yield replace(shot, wait_s=0.05)
        if kind == "says so":
            raise NotUsable("the field is blank; choose another mini-slide")
        return Outcome({"a": Quantity(float("nan"), 0.1, "um")})

    status, _, record = carry_out(configuration(tmp_path), registered(make, 1.5 if kind == "too slow" else 30.0))
    assert status == Exit.FAULT
    told = {"too slow": "longer than the 1.5 s", "no number": "a came out as nan um", "says so": "the field is blank"}
    assert told[kind] in record.reason
    assert len(record.shots) >= 1


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    with small_disk(tmp_path / "shelf", megabytes=2):
        status, _, record = carry_out(config, "dark", keep_frames=True)
    assert status == Exit.FAULT
    assert re.search(r"frames cannot be kept in .*frames \(.+\); make room", record.reason), record.reason
    assert 1 <= len(record.shots) <= 4


def test_a_person_may_interrupt(tmp_path: Path) -> None:
    slow = {"timing": {"xy_ms": 0, "z_ms": 100, "polarizer_ms": 0}}
    config = configuration(tmp_path, slow, instrument={"deadlines": {}})
    night = load(config)
    shelf = night.calibration.folder
    with running("calibrate", "camera", config, output=tmp_path / "printed") as process:
        wait_for(lambda: len(times(shelf, "exposing")) >= 2, "an exposure")
        moment_s = times(shelf, "exposing")[-1]
        psutil.Process(process.pid).send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == Exit.INTERRUPTED
    assert safe_after(shelf, moment_s) < SAFE_WITHIN_S
    (kept,) = Shelf(shelf).kept()
    assert kept.record is not None
    assert (kept.record.verdict, kept.record.reason) == ("not usable", "interrupted by a person")
    assert choose(night).names == ()
    left_safe(night)


@pytest.mark.parametrize(
    ("routine", "slide", "changes", "told"),
    [
        ("drak", None, {}, "'drak' is not a calibration routine; choose from dark"),
        ("dark", 7, {}, "--slide 7 is not among scan.slides (1, 2)"),
        ("dark", None, {"backend": "replay"}, "calibrate on the microscope itself"),
        ("dark", None, {"hardware": "none.cfg"}, "none.cfg"),
    ],
)
def test_bad_input_is_refused_before_hardware_is_touched(
    routine: str, slide: int | None, changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    config = load(configuration(tmp_path, instrument=changes))
    with pytest.raises(Refused) as refused:
        calibrate(config, routine, slide, keep_frames=False, console=Console(file=io.StringIO()))
    assert told in str(refused.value)
    assert not (tmp_path / "shelf").exists()


def test_a_command_without_a_configuration_is_refused_in_a_sentence() -> None:
    done = lamelle("calibrate", "dark")
    assert done.returncode == Exit.REFUSED
    assert done.stderr.startswith("lamelle: NAME or CONFIG is missing; run `lamelle calibrate NAME CONFIG`")
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_microscope_in_use_is_left_alone(tmp_path: Path) -> None:
    config = load(configuration(tmp_path))
    hardware = config.instrument.model_copy(update={"backend": "micromanager"})
    config = config.model_copy(update={"instrument": hardware})
    with (
        sole_on(config.instrument.name),
        pytest.raises(Refused, match="in use by another scan or calibration"),
        sole_use(config, tmp_path, "calibrate"),
    ):
        pytest.fail("it was held")


def test_emulated_microscopes_stand_side_by_side(tmp_path: Path) -> None:
    config = load(configuration(tmp_path))
    with sole_on(config.instrument.name):
        done = calibrate(config, "dark", None, keep_frames=False, console=Console(file=io.StringIO()))
    assert done == Exit.COMPLETE


def test_the_records_file_is_plain_json(tmp_path: Path) -> None:
    _, _, record = carry_out(configuration(tmp_path, {"lamp": {"power": 0}}), "illumination")
    folder = load(tmp_path / "night.yaml").calibration.folder
    (path,) = folder.glob("illumination-*.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["verdict"] == "not usable"
    assert content["reason"] == record.reason
    assert not list(folder.glob("*.npz"))
    assert not list(folder.glob("*.png"))
