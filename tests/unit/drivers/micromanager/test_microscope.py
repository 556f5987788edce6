import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from mm_test_adapters import device_adapter_path

from drivers.driving import DrivenMicroscope
from drivers.errors import (
    CameraFault,
    DeviceTimeout,
    FieldFault,
    FrameFault,
    InUse,
    LightFault,
    OutsideWindow,
    PresetNotReached,
    SettingRefused,
    StageMoved,
    StageStuck,
)
from drivers.micromanager import takeover
from drivers.micromanager.core import Core, Setting, headless_core, preset_settings, release_headless_core
from drivers.micromanager.devices import MicroManager
from drivers.microscope import Exposure, Frame, Sweep
from drivers.settings import Instrument
from drivers.waiting import POLL_S, Clock
from tests.support.deadlines import DEADLINE_S, END_S
from tests.support.instruments import (
    CENTRE,
    HARDWARE,
    OTHER_CENTRE,
    TRIGGERED,
    buffer_for,
    expose,
    instrument,
    ready,
    slides,
    states_of,
)


def triggered(**changes: Any) -> Instrument:
    """SequenceTester: every frame holds the state of all devices, and the camera triggers the z stage."""
    settings = {"backend": "micromanager", "hardware": TRIGGERED, "adapters": device_adapter_path(), "emulation": None}
    motion = {"withdrawn_z_um": -280, "z_sequence": True}
    return instrument(**{**settings, "frame_px": (128, 128), "motion": motion, **changes})


class Watched:
    """The real core, its commands noted, and misbehaving where told."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.z_commands: list[float] = []
        self.xy_commands: list[tuple[float, float]] = []
        self.ignored: set[str] = set()
        self.always_busy: set[str] = set()
        self.lost_frames = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.core, name)

    def set_position(self, label: str, z_um: float) -> None:
        self.z_commands.append(z_um)
        if "z" not in self.ignored:
            self.core.set_position(label, z_um)

    def set_xy_position(self, label: str, x_um: float, y_um: float) -> None:
        self.xy_commands.append((x_um, y_um))
        if "xy" not in self.ignored:
            self.core.set_xy_position(label, x_um, y_um)

    def set_config(self, group: str, preset: str) -> None:
        if "preset" not in self.ignored:
            self.core.set_config(group, preset)

    def device_busy(self, label: str) -> bool:
        return label in self.always_busy or self.core.device_busy(label)

    def pop_next_tagged_image(self) -> Any:
        for _ in range(self.lost_frames):
            self.core.pop_next_tagged_image()
        self.lost_frames = 0
        return self.core.pop_next_tagged_image()


def driven(settings: Instrument, core: Watched, clock: Clock | None = None) -> DrivenMicroscope:
    equipment = MicroManager(settings, cast(Core, core), release_headless_core)
    return DrivenMicroscope(settings, slides(), equipment, clock)


@pytest.fixture
def watched() -> Iterator[Any]:
    """Open a microscope on a watched core; released at the end."""
    opened: list[DrivenMicroscope] = []

    def open_watched(settings: Instrument, clock: Clock | None = None) -> tuple[DrivenMicroscope, Watched]:
        core = Watched(headless_core(settings))
        scope = driven(settings, core, clock)
        opened.append(scope)
        ready(scope)
        return scope, core

    yield open_watched
    for scope in opened:
        scope.close()
    release_headless_core()


@pytest.mark.parametrize("z_sequence", [True, False])
def test_every_plane_is_exposed_at_its_z_and_polarization(watched: Any, z_sequence: bool) -> None:
    scope, core = watched(triggered(motion={"withdrawn_z_um": -280, "z_sequence": z_sequence}))
    core.z_commands.clear()
    stack, frames = expose(scope)
    assert states_of(stack) == [(c, z) for c in (0, 1) for z in (-1.0, -0.5, 0.0, 0.5)]
    assert [(f.c, f.z, f.image_number) for f in frames] == [(c, z, z) for c in (0, 1) for z in range(4)]
    assert [f.z_um for f in frames] == [-1.0, -0.5, 0.0, 0.5] * 2
    # From withdrawn, the first sweep comes from below anyway; the second must go back below its first plane.
    taken = [] if z_sequence else [-0.5, 0.0, 0.5]
    assert core.z_commands == [-1.0, *taken, -3.0, -1.0, *taken]


def test_polarizations_land_where_they_are_stored_whatever_their_order(watched: Any) -> None:
    scope, _ = watched(triggered())
    stack, frames = expose(scope, Sweep(0.0, 1.0, 3, ("parallel", "crossed"), (1, 0)))
    assert [state for state, _ in states_of(stack)] == [0, 0, 0, 1, 1, 1]
    assert [f.c for f in frames] == [1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("z_sequence", [True, False])
@pytest.mark.parametrize(
    ("step_um", "heights", "approach"),
    [(0.0, (0.0, 0.0, 0.0), -2.0), (-1.0, (0.0, -1.0, -2.0), 2.0)],
    ids=["one height", "downwards"],
)
def test_a_sweep_is_approached_from_where_it_comes(
    watched: Any, z_sequence: bool, step_um: float, heights: tuple[float, ...], approach: float
) -> None:
    scope, core = watched(triggered(motion={"withdrawn_z_um": -280, "z_sequence": z_sequence}))
    scope.focus(1.0)
    core.z_commands.clear()
    stack, frames = expose(scope, Sweep(0.0, step_um, 3, ("crossed",), (0,)))
    assert [z for _, z in states_of(stack)] == list(heights)
    assert [f.z_um for f in frames] == list(heights)
    moved = [] if z_sequence or not step_um else list(heights[1:])
    assert core.z_commands == [approach, 0.0, *moved]


def test_exposures_of_a_sweep_are_commanded_instead_of_those_of_the_settings(watched: Any) -> None:
    scope, core = watched(triggered())
    commanded: list[float] = []

    def set_exposure(milliseconds: float) -> None:
        commanded.append(milliseconds)
        core.core.set_exposure(milliseconds)

    core.set_exposure = set_exposure
    expose(scope, Sweep(0.0, 1.0, 2, ("crossed", "parallel"), (0, 1), exposures_ms=(3.5, 700.0)))
    expose(scope, Sweep(0.0, 1.0, 2, ("crossed", "parallel"), (0, 1)))
    assert commanded == [3.5, 700.0, 20, 20]
    with pytest.raises(SettingRefused, match="give one for each"):
        expose(scope, Sweep(0.0, 1.0, 2, ("crossed", "parallel"), (0, 1), exposures_ms=(3.5,)))


@pytest.mark.parametrize(("on", "told"), [(False, "reads back closed"), (True, "reads back open")])
def test_light_that_is_not_as_the_sweep_wants_it_is_told_before_anything_moves(
    watched: Any, on: bool, told: str
) -> None:
    scope, core = watched(triggered())
    scope.light(on)
    core.z_commands.clear()
    with pytest.raises(LightFault, match=f"Shutter {told}.*check lamp, shutter"):
        expose(scope, Sweep(0.0, 1.0, 3, ("crossed",), (0,), lit=not on))
    assert core.z_commands == []


def test_a_buffer_too_small_for_the_sweep_is_a_fault(watched: Any, tmp_path: Path) -> None:
    long = tmp_path / "long.cfg"
    long.write_text(TRIGGERED.read_text().replace("MaxLength,32", "MaxLength,1000"))
    scope, core = watched(triggered(hardware=long))
    core.core.set_circular_buffer_memory_footprint(1)
    release = threading.Event()

    def slow(frame: Frame) -> None:
        # The camera needs no time for a frame: while the first is kept back, the buffer fills.
        if frame.z == 0:
            release.wait(0.3)

    sweep = Sweep(-40.0, 0.1, 300, ("crossed",), (0,))
    with pytest.raises(FrameFault, match=r"overflow.*buffer_mb"):
        scope.expose_stack(Exposure(1, 1), sweep, buffer_for(scope, sweep), slow)


def test_a_gap_in_the_image_numbers_is_a_fault(watched: Any) -> None:
    scope, core = watched(triggered())
    core.lost_frames = 1
    with pytest.raises(FrameFault, match="with the number 1"):
        expose(scope)
    stack, _ = expose(scope)
    assert len(states_of(stack)) == 8


@pytest.mark.parametrize(
    ("misbehave", "act", "error"),
    [
        (lambda core: core.ignored.add("z"), lambda scope: scope.focus(5.0), StageStuck),
        (lambda core: core.ignored.add("xy"), lambda scope: scope.move(CENTRE[0] + 100, CENTRE[1]), StageStuck),
        (lambda core: core.always_busy.add("Z"), lambda scope: scope.focus(5.0), DeviceTimeout),
        (lambda core: core.always_busy.add("XY"), lambda scope: scope.move(*CENTRE), DeviceTimeout),
        (lambda core: core.ignored.add("preset"), lambda scope: scope.polarize("crossed"), PresetNotReached),
        (lambda core: core.always_busy.add("Polarizer"), lambda scope: scope.polarize("crossed"), DeviceTimeout),
    ],
)
def test_hardware_that_does_not_obey_is_told_apart(watched: Any, misbehave: Any, act: Any, error: Any) -> None:
    scope, core = watched(instrument(backend="micromanager", adapters=device_adapter_path(), frame_px=(512, 512)))
    misbehave(core)
    with pytest.raises(error):
        act(scope)


def test_deadlines_run_on_the_clock_that_is_given(watched: Any) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    settings = triggered(deadlines={"focus_s": 40.0})
    scope, core = watched(settings, Clock(lambda: now[0], sleep))
    core.always_busy.add("Z")
    begun = now[0]
    with pytest.raises(DeviceTimeout, match="40 s"):
        scope.focus(1.0)
    assert 40.0 <= now[0] - begun < 40.0 + 2 * POLL_S
    core.always_busy.clear()


@pytest.mark.parametrize(
    "act",
    [
        lambda scope: scope.focus(60.5),
        lambda scope: scope.focus(-60.5),
        lambda scope: scope.focus(float("nan")),
        lambda scope: expose(scope, Sweep(59.0, 0.5, 4, ("crossed",), (0,))),
        lambda scope: expose(scope, Sweep(-59.0, -0.5, 4, ("crossed",), (0,))),
        lambda scope: expose(scope, Sweep(58.5, -0.5, 4, ("crossed",), (0,))),
        lambda scope: scope.move(*OTHER_CENTRE),
        lambda scope: scope.move(-1.0, CENTRE[1]),
        lambda scope: scope.open_slide(3),
    ],
)
def test_what_lies_outside_is_never_sent(watched: Any, act: Any) -> None:
    scope, core = watched(triggered())
    scope.focus(0.0)
    core.z_commands.clear()
    core.xy_commands.clear()
    before = scope.position()
    with pytest.raises(OutsideWindow):
        act(scope)
    assert (core.z_commands, core.xy_commands) == ([], [])
    assert scope.position() == before


def test_nothing_focuses_before_a_slide_is_open(watched: Any) -> None:
    settings = triggered()
    core = Watched(headless_core(settings))
    scope = driven(settings, core)
    with pytest.raises(OutsideWindow, match="open"):
        scope.focus(0.0)
    assert core.z_commands == []
    scope.close()


def test_the_objective_is_withdrawn_between_slides(watched: Any) -> None:
    scope, core = watched(triggered())
    scope.focus(0.0)
    core.z_commands.clear()
    scope.open_slide(1)
    assert core.z_commands == []
    scope.open_slide(2)
    assert core.z_commands == [-280.0]
    scope.move(*OTHER_CENTRE)


def test_z_is_always_approached_from_below(watched: Any) -> None:
    scope, core = watched(triggered())
    core.z_commands.clear()
    for z_um in (10.0, 20.0, 5.0, 5.5):
        scope.focus(z_um)
    assert core.z_commands == [10.0, 20.0, 3.0, 5.0, 3.5, 5.5]


def test_a_frame_of_another_size_is_a_fault(watched: Any) -> None:
    scope, core = watched(instrument(backend="micromanager", adapters=device_adapter_path(), frame_px=(512, 512)))
    core.core.set_property("Camera", "Binning", "2")
    with pytest.raises(CameraFault, match="65536 pixels"):
        expose(scope)


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (lambda core: core.set_xy_position("XY", CENTRE[0], CENTRE[1] + 1000), StageMoved, "XY stands 1000.0 um off"),
        (lambda core: core.set_position("Z", 7.0), StageMoved, r"Z stands at 7.00 um after crossed"),
        (lambda core: core.set_exposure(150.0), CameraFault, "exposes 150 ms instead of the 20 ms"),
        (
            lambda core: core.set_property("Polarizer", "State", "1"),
            PresetNotReached,
            "Polarizer-State '1' instead of '0'",
        ),
        (lambda core: core.set_shutter_open("Shutter", False), LightFault, "Shutter reads back closed"),
    ],
    ids=["joystick", "focus knob", "exposure", "preset", "shutter"],
)
def test_what_an_operator_changes_meanwhile_is_told_and_the_next_attempt_is_as_commanded(
    watched: Any, change: Any, error: type[FieldFault], told: str
) -> None:
    scope, core = watched(triggered(motion={"withdrawn_z_um": -280, "z_sequence": False}))
    sweep = Sweep(-1.0, 0.5, 4, ("crossed",), (0,))
    into = buffer_for(scope, sweep)

    def meddle(frame: Frame) -> None:
        if frame.z == 3:
            change(core.core)

    with pytest.raises(error, match=told):
        scope.expose_stack(Exposure(1, 1), sweep, into, meddle)
    scope.move(*CENTRE)
    (reading,) = scope.expose_stack(Exposure(1, 1, 1), sweep, into, lambda _frame: None)
    assert (reading.polarization, reading.exposure_ms) == ("crossed", 20.0)
    assert (reading.x_um, reading.y_um, reading.z_um) == pytest.approx((*CENTRE, 0.5), abs=0.01)


def test_nobody_is_blamed_for_what_was_moved_to_make_safe(watched: Any) -> None:
    scope, _ = watched(triggered(motion={"withdrawn_z_um": -280, "z_sequence": False}))
    sweep = Sweep(-1.0, 0.5, 4, ("crossed",), (0,))

    def make_safe(frame: Frame) -> None:
        if frame.z == 3:
            assert scope.make_safe()

    with pytest.raises(FieldFault, match="the microscope was made safe meanwhile"):
        scope.expose_stack(Exposure(1, 1), sweep, buffer_for(scope, sweep), make_safe)


def test_a_live_window_and_an_automatic_shutter_are_told_and_put_right(watched: Any) -> None:
    scope, core = watched(triggered())
    core.core.start_continuous_sequence_acquisition(0.0)
    with pytest.raises(InUse, match="stop live"):
        expose(scope)
    core.core.stop_sequence_acquisition()
    core.core.set_auto_shutter(True)
    scope.light(True)
    assert not core.core.get_auto_shutter()
    expose(scope)


def test_make_safe_from_another_thread_ends_an_exposure(watched: Any) -> None:
    slow = {
        name: {"group": "Polarization", "preset": name.title(), "exposure_ms": 100} for name in ("crossed", "parallel")
    }
    scope, core = watched(
        instrument(backend="micromanager", adapters=device_adapter_path(), frame_px=(512, 512), polarizations=slow)
    )
    landed, outcome = threading.Event(), list[BaseException]()
    sweep = Sweep(-1.0, 0.5, 30, ("crossed",), (0,))
    into = buffer_for(scope, sweep)

    def expose_all() -> None:
        try:
            scope.expose_stack(Exposure(1, 1), sweep, into, lambda _frame: landed.set())
        except FieldFault as error:
            outcome.append(error)

    thread = threading.Thread(target=expose_all)
    thread.start()
    assert landed.wait(DEADLINE_S)
    scope.make_safe()
    thread.join(END_S)
    assert not thread.is_alive()
    assert "made safe" in str(outcome[0])
    assert scope.position().z_um == pytest.approx(-280, abs=0.2)
    assert core.z_commands[-1] == -280
    assert not core.core.get_shutter_open("Shutter")
    with pytest.raises(FieldFault, match="made safe"):
        scope.focus(0.0)
    scope.open_slide(1)
    scope.focus(0.0)


@pytest.mark.parametrize(
    ("direction", "told"),
    [(-1, r"instrument\.devices\.focus is 'Z', whose larger z leads away from the sample"), (0, ""), (1, "")],
)
def test_the_direction_of_z_is_asked_before_anything_moves(tmp_path: Path, direction: int, told: str) -> None:
    hardware = tmp_path / "turned.cfg"
    hardware.write_text(HARDWARE.read_text().replace("FocusDirection,Z,1", f"FocusDirection,Z,{direction}"))
    settings = {"backend": "micromanager", "adapters": device_adapter_path(), "frame_px": (512, 512)}
    core = headless_core(instrument(hardware=hardware, **settings))
    try:
        core.set_position("Z", 5.0)
        watched_core = Watched(core)
        if told:
            with pytest.raises(SettingRefused, match=told):
                driven(instrument(hardware=hardware, **settings), watched_core)
        else:
            notes = driven(instrument(hardware=hardware, **settings), watched_core).identity.notes
            assert [note for note in notes if "prove it" in note] == [*notes][: direction == 0]
        assert watched_core.z_commands == []
    finally:
        release_headless_core()


def test_what_an_operator_had_set_is_given_back_and_continuous_focus_is_switched_off() -> None:
    settings = instrument(backend="micromanager", adapters=device_adapter_path(), frame_px=(512, 512))
    core = headless_core(settings)
    core.set_auto_shutter(True)
    core.set_exposure(33.0)
    core.set_property("Polarizer", "Label", "Parallel")
    held: Any = Watched(core)
    states = [True, False]
    held.is_continuous_focus_enabled = lambda: states[0]
    held.enable_continuous_focus = lambda _on: states.pop(0)
    scope = DrivenMicroscope(settings, slides(), MicroManager(settings, cast(Core, held), lambda: None))
    try:
        assert "continuous focus was on" in scope.identity.notes[0]
        ready(scope)
        scope.polarize("crossed")
        expose(scope, Sweep(0.0, 0.5, 2, ("crossed",), (0,)))
        scope.close()
        assert (core.get_auto_shutter(), core.get_exposure()) == (True, 33.0)
        assert core.get_property("Polarizer", "Label") == "Parallel"
        assert not core.get_shutter_open("Shutter")
    finally:
        release_headless_core()


def test_a_live_window_is_not_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "IDLE_S", 0.1)
    settings = instrument(backend="micromanager", adapters=device_adapter_path(), frame_px=(512, 512))
    core: Any = headless_core(settings)
    core.set_auto_shutter(True)
    core.start_continuous_sequence_acquisition(0.0)
    try:
        with pytest.raises(SettingRefused, match="stop live"):
            driven(settings, Watched(core))
        assert core.get_auto_shutter()
        core.stop_sequence_acquisition()
    finally:
        release_headless_core()


def test_make_safe_takes_the_other_way_while_a_call_hangs() -> None:
    settings = instrument(backend="micromanager", adapters=device_adapter_path(), frame_px=(512, 512))
    core, freed = headless_core(settings), threading.Event()
    main: Any = Watched(core)
    scope = DrivenMicroscope(
        settings, slides(), MicroManager(settings, cast(Core, main), release_headless_core, spare=core)
    )
    ready(scope)
    hangs = threading.Event()

    def hang(*_: Any) -> Any:
        hangs.set()
        freed.wait(END_S)
        raise RuntimeError("ended")

    def expose_until_ended() -> None:
        with pytest.raises(FieldFault):
            expose(scope)

    # From now on nothing that is asked of the first socket comes back.
    main.snap_image = main.get_position = main.set_shutter_open = main.is_sequence_running = hang
    thread = threading.Thread(target=expose_until_ended)
    thread.start()
    assert hangs.wait(DEADLINE_S)
    assert scope.make_safe()
    assert core.get_position("Z") == pytest.approx(-280.0)
    assert not core.get_shutter_open("Shutter")
    freed.set()
    thread.join(END_S)
    scope.close()


def test_presets_of_the_light_are_read_back_property_by_property(tmp_path: Path) -> None:
    hardware = tmp_path / "lamp.cfg"
    lamp = "ConfigGroup,Lamp,{0},Polarizer2,Label,{0}\n"
    hardware.write_text(
        HARDWARE.read_text().replace(
            "Property,Core,Initialize,1", "Device,Polarizer2,DemoCamera,DStateDevice\nProperty,Core,Initialize,1"
        )
        + "Label,Polarizer2,0,Off\nLabel,Polarizer2,1,On\n"
        + lamp.format("On")
        + lamp.format("Off")
    )
    settings = instrument(
        backend="micromanager",
        adapters=device_adapter_path(),
        frame_px=(512, 512),
        hardware=hardware,
        light_on=("Lamp", "On"),
        light_off=("Lamp", "Off"),
    )
    core = Watched(headless_core(settings))
    scope = driven(settings, core)
    try:
        ready(scope)
        expose(scope, Sweep(0.0, 0.5, 2, ("crossed",), (0,)))
        core.core.set_property("Polarizer2", "Label", "Off")
        with pytest.raises(LightFault, match=r"Lamp/On \(Polarizer2-Label 'Off' instead of 'On'\) reads back closed"):
            expose(scope, Sweep(0.0, 0.5, 2, ("crossed",), (0,)))
        scope.light(True)
        core.ignored.add("preset")
        assert not scope.make_safe()
        assert "Lamp/Off" in scope.trouble[-1]
    finally:
        core.ignored.clear()
        scope.close()
        release_headless_core()


def test_make_safe_goes_on_when_a_device_fails(watched: Any, caplog: pytest.LogCaptureFixture) -> None:
    scope, core = watched(triggered())
    scope.focus(0.0)

    def fail(*_: Any) -> None:
        raise RuntimeError("no answer")

    core.set_shutter_open = fail
    assert not scope.make_safe()
    assert core.core.get_position("Z") == pytest.approx(-280)
    assert "no answer" in caplog.text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"devices": {"camera": "Kamera"}}, r"instrument\.devices\.camera is 'Kamera'"),
        ({"frame_px": (64, 128)}, r"instrument\.frame_px is \[64, 128\].*128 rows of 128"),
        (
            {"polarizations": {"crossed": {"group": "Polarization", "preset": "Cross", "exposure_ms": 1}}},
            r"instrument\.polarizations\.crossed is Polarization/Cross",
        ),
        ({"light_on": ("Lamp", "On")}, r"instrument\.light_on is Lamp/On"),
        ({"hardware": TRIGGERED.with_name("missing.cfg")}, r"instrument\.hardware"),
        ({"adapters": TRIGGERED.with_name("missing")}, r"instrument\.adapters"),
    ],
)
def test_settings_that_do_not_fit_the_hardware_are_refused(changes: Any, told: str) -> None:
    from drivers.open import open_microscope

    with pytest.raises(SettingRefused, match=told):
        open_microscope(triggered(**changes), slides())


def test_a_preset_whose_label_the_device_lacks_is_refused_once_the_hardware_is_safe(tmp_path: Path) -> None:
    from drivers.open import open_microscope

    hardware = tmp_path / "wrong.cfg"
    text = HARDWARE.read_text()
    hardware.write_text(text.replace("Crossed,Polarizer,Label,Crossed", "Crossed,Polarizer,Label,Krossed"))
    settings = {"backend": "micromanager", "adapters": device_adapter_path(), "hardware": hardware}
    scope = open_microscope(instrument(frame_px=(512, 512), **settings), slides())
    try:
        assert scope.make_safe()
        with pytest.raises(SettingRefused, match=r"instrument\.polarizations\.crossed .*cannot be set"):
            scope.prepare()
    finally:
        scope.close()


def test_a_hardware_file_that_does_not_load_is_refused_with_its_line(tmp_path: Path) -> None:
    from drivers.open import open_microscope

    hardware = tmp_path / "broken.cfg"
    hardware.write_text("Property,Core,Initialize,0\nDevice,Camera,DemoCamera,NoSuchCamera\n")
    with pytest.raises(SettingRefused, match=r"Line 2"):
        open_microscope(triggered(hardware=hardware), slides())


def test_the_settings_of_a_preset_are_known(watched: Any) -> None:
    _, core = watched(triggered())
    assert preset_settings(core, "Polarization", "Crossed") == (Setting("Polarizer", "State", "0"),)
