import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from drivers.driving import DrivenMicroscope
from drivers.emulated.core import open_emulated
from drivers.emulated.mechanics import Mechanics
from drivers.errors import (
    CameraFault,
    DeviceFault,
    DeviceTimeout,
    FrameFault,
    HardwareLost,
    InUse,
    LightFault,
    NoLight,
    PresetNotReached,
    SettingRefused,
    StageMoved,
    StageStuck,
)
from drivers.micromanager.core import release_headless_core
from drivers.microscope import Exposure, Microscope, Sweep
from drivers.open import open_microscope
from drivers.settings import Emulation, Instrument
from drivers.virtual_slide.optics.camera import HOT_DN_PER_MS, OFFSET_DN, READ_NOISE_DN
from drivers.virtual_slide.slide import VirtualSlide
from drivers.virtual_slide.truth import View
from drivers.waiting import Clock
from tests.support.deadlines import DEADLINE_S, END_S
from tests.support.instruments import CENTRE, SWEEP, buffer_for, child, emulated, expose, instrument, ready, slides

STILL = {"backlash_um": 0, "drift_um_per_field": 0, "jitter_um": 0}


@pytest.fixture
def opened() -> Iterator[Any]:
    scopes: list[Microscope] = []

    def open_it(settings: Instrument, clock: Clock | None = None) -> Microscope:
        clock = clock or Clock()
        scopes.append(DrivenMicroscope(settings, slides(), open_emulated(settings, slides(), clock), clock))
        return ready(scopes[-1])

    yield open_it
    for scope in scopes:
        scope.close()
    release_headless_core()


def own_clock() -> Clock:
    """What this thread computes and waits for passes on it, and not what else the computer has to do meanwhile."""
    waited_s = [0.0]

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        waited_s[0] += seconds

    return Clock(lambda: time.thread_time() + waited_s[0], sleep)


def fault(kind: str, **where: Any) -> dict[str, Any]:
    return {"faults": ({"kind": kind, **where},)}


def test_a_stack_holds_the_virtual_slide_at_every_z_and_polarization(opened: Any) -> None:
    settings = emulated(**STILL)
    scope = opened(settings)
    at = scope.position()
    assert (at.x_um, at.y_um) == pytest.approx(CENTRE, abs=0.01)
    stack, frames = expose(scope)
    assert settings.emulation is not None
    slide = VirtualSlide(settings.emulation, slides(), settings.frame_px, settings.pixel_um)
    expected = np.zeros_like(stack[0, 0])
    for frame in frames:
        polarization = ("crossed", "parallel")[frame.c]
        z_um = -1.0 + 0.5 * frame.z
        slide.render(View(1, 1, frame.z, polarization, at.x_um, at.y_um, z_um), 20.0, expected)
        assert_array_equal(stack[frame.c, frame.z], expected)
    assert [(f.c, f.z) for f in frames] == [(c, z) for c in (0, 1) for z in range(4)]
    again, _ = expose(scope, attempt=2)
    slide.render(View(1, 1, 0, "crossed", at.x_um, at.y_um, -1.0, attempt=2), 20.0, expected)
    assert_array_equal(again[0, 0], expected)
    # The same specimens with other noise: neighbours together hardly differ.
    one, other = stack[1, 0].astype(float), again[1, 0].astype(float)
    assert np.mean(one != other) > 0.5
    assert abs(one.mean() - other.mean()) < 0.01 * one.mean()


def test_a_field_looks_the_same_after_a_restart_and_other_fields() -> None:
    stacks = []
    for fields in ((1, 2, 3), (3,)):
        scope = ready(open_microscope(emulated(), slides()))
        for field in fields:
            scope.move(CENTRE[0] + 50 * field, CENTRE[1])
            stack, _ = expose(scope, field=field)
        stacks.append(stack)
        scope.close()
    assert_array_equal(stacks[0], stacks[1])


def test_play_of_the_z_drive_depends_on_where_it_was_last_approached_from() -> None:
    emulation = Emulation(backlash_um=0.6, drift_um_per_field=0.01, jitter_um=0.0)
    mechanics = Mechanics(emulation, slides(), CENTRE, 0.0)
    heights = []
    for z_um in (5.0, 4.0, 4.3, 4.8, 2.0, 4.0):
        mechanics.drive(z_um)
        heights.append(mechanics.focal_plane_um(Exposure(1, 0), "crossed", 0))
    assert heights == pytest.approx([5.0, 4.6, 4.6, 4.8, 2.6, 4.0])
    assert mechanics.focal_plane_um(Exposure(1, 50), "crossed", 0) == pytest.approx(3.5)


def test_jitter_is_reproducible_and_of_the_size_that_is_set() -> None:
    mechanics = Mechanics(Emulation(backlash_um=0, drift_um_per_field=0, jitter_um=0.03), slides(), CENTRE, 0.0)
    drawn = [mechanics.focal_plane_um(Exposure(1, field), "crossed", z) for field in range(100) for z in range(10)]
    assert np.std(drawn) == pytest.approx(0.03, rel=0.1)
    assert np.mean(drawn) == pytest.approx(0, abs=0.003)
    assert drawn[17] == mechanics.focal_plane_um(Exposure(1, 1), "crossed", 7)


@pytest.mark.parametrize(
    ("kind", "error", "told"),
    [
        ("dropped_frame", FrameFault, "frame lost"),
        ("repeated_frame", FrameFault, "repeats"),
        ("dark_frame", FrameFault, "dark"),
        ("saturated_frame", FrameFault, "saturated"),
        ("stage_stuck", StageStuck, "Z stands"),
        ("stage_busy", DeviceTimeout, "Z was still busy"),
        ("preset_missed", PresetNotReached, "reads back"),
        ("z_mute", DeviceFault, "no answer at the serial port"),
        ("xy_mute", DeviceFault, "position: .*no answer at the serial port"),
        ("polarizer_busy", DeviceTimeout, "Polarizer was still busy"),
        ("shutter_closed", LightFault, "Shutter reads back closed"),
        ("auto_shutter", LightFault, "Shutter reads back closed"),
        ("exposure_clamped", CameraFault, "exposes 80 ms instead of the 20 ms"),
        ("exposure_changed", CameraFault, "exposes 80 ms instead of the 20 ms"),
        ("camera_off", FrameFault, "not connected"),
        ("core_lost", HardwareLost, "no longer answers"),
        ("joystick", StageMoved, "XY stands 250.0 um off the field after crossed"),
        ("focus_knob", StageMoved, "Z stands at -3.50 um after crossed"),
        ("preset_changed", PresetNotReached, "Polarizer-Label 'Parallel' instead of 'Crossed' after"),
        ("preset_deleted", DeviceFault, "does not exist"),
        ("roi_changed", CameraFault, "region of interest was changed"),
        ("pixel_type", CameraFault, "came as uint8"),
        ("frame_turned", CameraFault, "turns its frames"),
    ],
)
def test_a_fault_is_told_and_the_next_attempt_succeeds(opened: Any, kind: str, error: Any, told: str) -> None:
    scope = opened(emulated(**fault(kind, slide=1, fields=(2,))))
    expose(scope, field=1)
    with pytest.raises(error, match=told):
        expose(scope, field=2)
    scope.move(*CENTRE)
    expose(scope, field=2, exposed=1)
    scope.withdraw()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("live_on", "stop live"),
        ("camera_switched", "Micro-Manager's camera is 'Another camera'"),
        ("focus_held", "continuous focus is on"),
    ],
)
def test_what_hinders_is_told_at_the_next_stack(opened: Any, kind: str, told: str) -> None:
    scope = opened(emulated(**fault(kind, fields=(2,), lasts_exposures=2)))
    expose(scope, field=2)
    with pytest.raises(InUse, match=told):
        expose(scope, field=3)


def test_a_shutter_that_is_stuck_for_a_time_opens_again(opened: Any) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    scope = opened(emulated(**fault("shutter_closed", fields=(2,), lasts_s=30.0)), Clock(lambda: now[0], sleep))
    expose(scope, field=1)
    with pytest.raises(LightFault, match="closed"):
        expose(scope, field=2)
    now[0] += 20.0
    with pytest.raises(LightFault, match="closed"):
        scope.light(True)
    now[0] += 10.0
    scope.light(True)
    expose(scope, field=2, exposed=1)
    expose(scope, field=2)


def test_a_fault_that_lasts_for_exposures_meets_so_many_of_whatever_field(opened: Any) -> None:
    scope = opened(emulated(**fault("dropped_frame", fields=(2,), lasts_exposures=3)))
    met = []
    for field in (1, 2, 3, 3, 2, 4):
        try:
            expose(scope, field=field)
        except FrameFault:
            met.append(True)
        else:
            met.append(False)
    assert met == [False, True, True, True, False, False]


def test_a_stage_that_is_stuck_or_busy_is_told_at_the_next_move(opened: Any) -> None:
    scope = opened(emulated(faults=({"kind": "xy_stuck", "fields": (2,)}, {"kind": "xy_busy", "fields": (3,)})))
    for field, error, told in ((2, StageStuck, "XY stands"), (3, DeviceTimeout, "XY was still busy")):
        expose(scope, field=field)
        with pytest.raises(error, match=told):
            scope.move(CENTRE[0] + 50 * field, CENTRE[1])
        scope.move(*CENTRE)


def test_a_camera_of_12_bits_is_told_and_full_at_4095(opened: Any) -> None:
    scope = opened(emulated(sensor={"bits": 12}, **fault("saturated_frame", fields=(2,))))
    assert scope.identity.bit_depth == 12
    stack, _ = expose(scope, field=1)
    assert 1500 < np.median(stack[1]) < 2100
    assert stack.max() <= 4095
    with pytest.raises(FrameFault, match="saturated all over at 4095"):
        expose(scope, field=2)


def test_a_closed_shutter_is_a_fault_where_light_is_wanted(opened: Any) -> None:
    scope = opened(emulated())
    scope.light(False)
    with pytest.raises(LightFault, match="lamp, shutter"):
        expose(scope)


def dark(exposure_ms: float) -> Sweep:
    return Sweep(0.0, 0.0, 6, ("parallel",), (0,), exposures_ms=(exposure_ms,), lit=False)


def test_without_light_the_camera_shows_offset_read_noise_and_hot_pixels(opened: Any) -> None:
    scope = opened(emulated(sensor={"hot_pixels": 1e-3}))
    scope.light(False)
    short, long = (expose(scope, dark(ms))[0][0].astype(float) for ms in (0.001, 100.0))
    assert np.median(short) == OFFSET_DN
    assert (short[1:] - short[:-1]).std() / np.sqrt(2) == pytest.approx(READ_NOISE_DN, rel=0.03)
    grown = (long.mean(0) - short.mean(0)) / 100.0
    hot = grown > 10 * READ_NOISE_DN / np.sqrt(6) / 100.0
    assert np.count_nonzero(hot) == pytest.approx(1e-3 * hot.size, abs=1)
    assert np.median(grown[hot]) == pytest.approx(HOT_DN_PER_MS, rel=0.5)


def test_a_lamp_that_has_failed_leaves_darkness_and_a_camera_that_lost_its_data_zeros(opened: Any) -> None:
    scope = opened(emulated(lamp={"power": 0}, **fault("dark_frame", fields=(2,))))
    with pytest.raises(NoLight, match=r"show 100 DN and crossed ones (99|100|101), of 65535, as without light"):
        expose(scope)
    stack, _ = expose(scope, replace(SWEEP, exposures_ms=(20.0, 20.0)))
    assert np.median(stack, axis=(1, 2, 3)) == pytest.approx([OFFSET_DN, OFFSET_DN])
    scope.light(False)
    stack, _ = expose(scope, dark(20.0), field=2)
    assert [frame.any() for frame in stack[0]] == [True, False, True, True, True, True]


def test_signal_grows_with_the_exposure_until_all_is_saturated(opened: Any) -> None:
    scope = opened(emulated(profile="blank"))
    signals = []
    for exposure_ms in (5.0, 10.0, 20.0, 100.0):
        stack, _ = expose(scope, Sweep(0.0, 0.0, 3, ("parallel",), (0,), exposures_ms=(exposure_ms,)))
        signals.append(float(np.median(stack)) - OFFSET_DN)
    assert signals[1] / signals[0] == pytest.approx(2, rel=0.01)
    assert signals[2] / signals[0] == pytest.approx(4, rel=0.01)
    assert signals[3] == 65535 - OFFSET_DN


def test_lost_oil_dims_every_field_until_the_objective_is_withdrawn(opened: Any) -> None:
    scope = opened(emulated(**fault("oil_lost", fields=(2,))))
    light = [float(expose(scope, field=field)[0][1].mean()) for field in (1, 2, 3)]
    scope.withdraw()
    light.append(float(expose(scope, field=3)[0][1].mean()))
    assert light[1] < 0.8 * light[0]
    assert light[2] < 0.6 * light[0]
    assert light[3] == pytest.approx(light[0], rel=0.2)


def test_a_dim_lamp_takes_light_and_leaves_what_is_seen(opened: Any) -> None:
    scope = opened(emulated(**fault("lamp_dim", fields=(2,), attempts=None), density=4.0))
    plain, dim = (expose(scope, field=field)[0][1].astype(float) - OFFSET_DN for field in (1, 2))
    assert np.median(dim) == pytest.approx(0.4 * np.median(plain), rel=0.1)
    assert dim.std() > 0.2 * plain.std()


def test_a_bubble_and_a_blank_field_change_what_is_seen_and_raise_nothing(opened: Any) -> None:
    faults = ({"kind": "bubble", "fields": (2,), "attempts": None}, {"kind": "blank", "fields": (3,)})
    scope = opened(emulated(faults=faults, density=4.0))
    plain, bubble, blank = (expose(scope, field=field)[0][1, 0].astype(float) for field in (1, 2, 3))
    assert bubble.min() < 0.2 * plain.mean()
    assert blank.std() < plain.std()


def test_chance_strikes_as_often_as_it_is_told(opened: Any) -> None:
    from drivers.emulated.faults import Faults
    from drivers.settings import ChanceFault

    faults = Faults([ChanceFault(kind="dark_frame", probability=0.2)], seed=3)
    struck = []
    for field in range(1000):
        faults.stage(Exposure(1, field), "crossed", 1)
        struck.append(faults.strikes("dark_frame"))
        assert not faults.strikes("dark_frame")
    assert 150 < sum(struck) < 250


def test_a_fault_strikes_every_exposure_of_a_field_once(opened: Any) -> None:
    scope = opened(emulated(**fault("dropped_frame")))
    for sweep in (Sweep(-2.0, 1.0, 4, ("crossed",), (0,)), Sweep(-2.0, 1.0, 4, ("crossed",), (0,)), SWEEP):
        with pytest.raises(FrameFault, match="plane 1 of crossed"):
            expose(scope, sweep)


def test_a_stack_takes_its_configured_time(opened: Any) -> None:
    timing = {"xy_ms": 60, "z_ms": 15, "polarizer_ms": 60}
    clock = own_clock()
    scope = opened(emulated(timing=timing), clock)
    scope.polarize("parallel")
    expose(scope)
    begun_s = clock.now()
    scope.move(*CENTRE)
    expose(scope)
    took = clock.now() - begun_s
    configured = (60 + 2 * 60 + 2 * (1 + 4) * 15 + 2 * 4 * 20) / 1e3
    assert configured <= took < 1.3 * configured


def test_without_timing_nothing_waits(opened: Any) -> None:
    clock = own_clock()
    scope = opened(emulated(), clock)
    expose(scope)
    begun_s = clock.now()
    expose(scope)
    assert clock.now() - begun_s < 8 * 0.020


def _expose_in_child(pipe: Connection, kind: str) -> None:
    scope = ready(open_microscope(emulated(**fault(kind)), slides()))
    into = buffer_for(scope, SWEEP)

    def make_safe() -> None:
        pipe.recv()
        scope.make_safe()
        pipe.send(scope.position().z_um)

    threading.Thread(target=make_safe, daemon=True).start()
    scope.expose_stack(Exposure(1, 1), SWEEP, into, lambda frame: pipe.send(frame.z))


@pytest.mark.slow
def test_a_call_that_hangs_leaves_make_safe_to_another_thread() -> None:
    with child(_expose_in_child, "hang") as (process, pipe):
        assert pipe.poll(DEADLINE_S)
        assert pipe.recv() == 0
        assert not pipe.poll(0.5)
        assert process.is_alive()
        pipe.send("make safe")
        assert pipe.poll(DEADLINE_S)
        assert pipe.recv() == pytest.approx(-280, abs=0.2)


def test_a_process_that_dies_takes_its_core_along() -> None:
    with child(_expose_in_child, "die") as (process, pipe):
        assert pipe.poll(DEADLINE_S)
        assert pipe.recv() == 0
        process.join(END_S)
        assert process.exitcode == 1


def test_one_core_a_process(opened: Any) -> None:
    opened(emulated())
    with pytest.raises(SettingRefused, match="already drives"):
        open_microscope(emulated(), slides())


def test_a_hardware_file_without_a_demo_camera_is_refused() -> None:
    from tests.support.instruments import TRIGGERED

    with pytest.raises(SettingRefused, match="DemoCamera"):
        open_microscope(instrument(hardware=TRIGGERED), slides())


def test_the_driver_does_not_import_torch() -> None:
    import subprocess
    import sys

    modules = "drivers.open, drivers.emulated.core, drivers.recorded.replay, drivers.micromanager.hardware_file"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "False"


def test_focus_search_sweeps_take_one_polarization(opened: Any) -> None:
    stack, frames = expose(opened(emulated()), Sweep(-20.0, 1.0, 41, ("parallel",), (0,)))
    assert stack.shape[:2] == (1, 41)
    assert len(frames) == 41
