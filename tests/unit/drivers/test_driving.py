"""What stands around equipment, whoever wrote it: equipment that misbehaves in every way is driven."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from drivers.driving import DrivenMicroscope
from drivers.equipment import Equipment, Image
from drivers.errors import (
    CameraFault,
    DeviceFault,
    DeviceTimeout,
    FieldFault,
    FrameFault,
    HardwareLost,
    InUse,
    LightFault,
    NoLight,
    OutsideWindow,
    PresetNotReached,
    SettingRefused,
    StageMoved,
    StageStuck,
)
from drivers.microscope import Exposure, Identity, StateReading, Sweep
from tests.support.instruments import CENTRE, OTHER_CENTRE, expose, instrument, ready, slides

HEIGHT, WIDTH = 64, 80
SWEEP = Sweep(-1.0, 0.5, 4, ("crossed", "parallel"), (0, 1))


class Simple(Equipment):
    """Equipment that does as it is told, notes it, and raises or answers what a test puts in its way."""

    def __init__(self, bits: int = 16) -> None:
        self.identity_ = Identity("simple", "none", HEIGHT, WIDTH, bits, {})
        self.told: list[tuple[Any, ...]] = []
        self.in_the_way: dict[str, Exception] = {}
        self.xy, self.z, self.state, self.frames, self.lit = (0.0, 0.0), -280.0, "", 0, True
        self.exposes_ms, self.frame, self.used = 0.0, (HEIGHT, WIDTH), ""
        self.stuck: set[str] = set()
        self.after_frame: dict[int, Callable[[], None]] = {}

    def note(self, what: str, *values: Any) -> None:
        self.told.append((what, *values))
        if what in self.in_the_way:
            raise self.in_the_way[what]

    @property
    def identity(self) -> Identity:
        return self.identity_

    def move_xy(self, x_um: float, y_um: float) -> None:
        self.note("xy", x_um, y_um)
        self.xy = self.xy if "xy" in self.stuck else (x_um, y_um)

    def xy_um(self) -> tuple[float, float]:
        return self.xy

    def move_z(self, z_um: float) -> None:
        self.note("z", z_um)
        self.z = self.z if "z" in self.stuck else z_um

    def z_um(self) -> float:
        return self.z

    def polarize(self, state: str) -> None:
        self.note("polarize", state)
        self.state = self.state if "state" in self.stuck else state

    def polarization(self) -> str:
        return self.state

    def set_exposure(self, exposure_ms: float) -> None:
        self.note("exposure", exposure_ms)
        self.exposes_ms = self.exposes_ms if "exposure" in self.stuck else exposure_ms

    def exposure_ms(self) -> float:
        return self.exposes_ms

    def frame_px(self) -> tuple[int, int]:
        return self.frame

    def hindrance(self) -> str | None:
        return self.used or None

    def light(self, on: bool) -> None:
        self.note("light", on)
        self.lit = self.lit if "light" in self.stuck else on

    def lights(self) -> dict[str, bool]:
        return {"lamp": self.lit}

    def snap(self) -> Image:
        self.note("snap")
        self.frames += 1
        self.after_frame.get(self.frames, lambda: None)()
        return np.full((HEIGHT, WIDTH), self.frames, np.uint16)

    def stop(self) -> None:
        self.note("stop")

    def stop_stages(self) -> None:
        self.note("stop stages")

    def close(self) -> None:
        self.note("close")


def driven(equipment: Equipment) -> DrivenMicroscope:
    settings = instrument(
        backend="simple", frame_px=(HEIGHT, WIDTH), motion={"withdrawn_z_um": -280, "z_sequence": True}
    )
    scope = DrivenMicroscope(settings, slides(), equipment)
    ready(scope)
    return scope


@pytest.mark.parametrize(
    "act",
    [
        lambda scope: scope.focus(60.5),
        lambda scope: scope.focus(float("nan")),
        lambda scope: expose(scope, Sweep(59.0, 0.5, 4, ("crossed",), (0,))),
        lambda scope: expose(scope, Sweep(59.0, -0.5, 4, ("crossed",), (0,))),
        lambda scope: scope.move(*OTHER_CENTRE),
        lambda scope: scope.move(-1.0, CENTRE[1]),
        lambda scope: scope.open_slide(3),
    ],
)
def test_what_lies_outside_never_reaches_the_equipment(act: Any) -> None:
    equipment = Simple()
    scope = driven(equipment)
    scope.focus(0.0)
    equipment.told.clear()
    with pytest.raises(OutsideWindow):
        act(scope)
    assert equipment.told == []


def test_a_sweep_is_approached_from_below_and_announced_plane_by_plane() -> None:
    equipment = Simple()
    scope = driven(equipment)
    scope.focus(5.0)
    equipment.told.clear()
    stack, frames = expose(scope, SWEEP)
    assert [(f.c, f.z, f.image_number, f.z_um) for f in frames] == [
        (c, z, z, -1.0 + 0.5 * z) for c in (0, 1) for z in range(4)
    ]
    assert stack[:, :, 0, 0].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert [values[0] for what, *values in equipment.told if what == "z"] == [
        *(-3.0, -1.0, -0.5, 0.0, 0.5),
        *(-3.0, -1.0, -0.5, 0.0, 0.5),
    ]


@pytest.mark.parametrize(
    ("frame", "fault", "told"),
    [
        (None, CameraFault, "came as NoneType"),
        (np.ones((HEIGHT, WIDTH)), CameraFault, "came as float64"),
        (np.ones((HEIGHT, WIDTH), np.int16), CameraFault, "came as int16"),
        (np.ones((HEIGHT, WIDTH - 1), np.uint16), CameraFault, "5056 pixels instead of 64 x 80"),
        (np.ones((WIDTH, HEIGHT), np.uint16), CameraFault, "shape .80, 64. instead of .64, 80."),
        (np.ones((HEIGHT, WIDTH), np.uint8), CameraFault, "came as uint8, before it was 16 bit"),
        (np.zeros((HEIGHT, WIDTH), np.uint16), FrameFault, "all dark"),
        (np.full((HEIGHT, WIDTH), 65535, np.uint16), FrameFault, "saturated"),
        (np.full((HEIGHT, WIDTH), 7, np.uint16), FrameFault, "repeats the frame before it"),
    ],
)
def test_frames_are_judged(frame: Any, fault: type[FieldFault], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    equipment = Simple()
    scope = driven(equipment)
    monkeypatch.setattr(equipment, "snap", lambda: frame)
    with pytest.raises(fault, match=told):
        expose(scope, SWEEP)


def test_light_that_goes_without_a_word_is_seen_in_the_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    equipment = Simple()
    scope, light = driven(equipment), {"crossed": 40, "parallel": 9000}

    def snap() -> Image:
        equipment.frames += 1
        return np.full((HEIGHT, WIDTH), 100 + light[equipment.state] + equipment.frames % 2, np.uint16)

    monkeypatch.setattr(equipment, "snap", snap)
    expose(scope)
    # Neither lost oil nor a bubble takes so much, and between crossed polarizers little more than the offset is left.
    light.update(crossed=10, parallel=3000)
    expose(scope)
    light.update(crossed=0, parallel=0)
    for _ in range(2):
        with pytest.raises(NoLight, match=r"plane 0 of parallel shows 10. DN, where the sweep before showed 310"):
            expose(scope)
    # Whoever gives exposures, or wants no light, judges that himself.
    expose(scope, replace(SWEEP, exposures_ms=(1.0, 1.0)))
    light.update(crossed=40, parallel=9000)
    expose(scope)


def test_what_was_read_back_of_each_polarization_is_returned() -> None:
    equipment = Simple()
    scope = driven(equipment)
    into = np.zeros((2, 4, HEIGHT, WIDTH), np.uint16)
    x_um, y_um = CENTRE
    equipment.after_frame[2] = lambda: setattr(equipment, "xy", (x_um + 0.4, y_um - 0.3))
    equipment.after_frame[6] = lambda: setattr(equipment, "exposes_ms", 20.1)
    assert scope.expose_stack(Exposure(1, 1), SWEEP, into, lambda _frame: None) == (
        StateReading("crossed", x_um + 0.4, y_um - 0.3, 0.5, 20.0),
        StateReading("parallel", x_um + 0.4, y_um - 0.3, 0.5, 20.1),
    )


@pytest.mark.parametrize(
    ("changed", "value", "fault", "told"),
    [
        ("xy", (CENTRE[0] + 1000, CENTRE[1]), StageMoved, "1000.0 um off the field after parallel"),
        ("z", 3.0, StageMoved, "stands at 3.00 um after parallel was exposed, not at 0.50 um"),
        ("state", "crossed", PresetNotReached, "polarization parallel reads back crossed after its planes"),
        ("exposes_ms", 200.0, CameraFault, "exposes 200 ms instead of the 20 ms"),
        ("lit", False, LightFault, "lamp reads back closed"),
        ("frame", (32, 80), CameraFault, "32 rows of 80 pixels instead of 64 of 80"),
    ],
)
def test_what_changes_behind_a_sweep_is_a_fault_of_the_instrument(
    changed: str, value: Any, fault: type[FieldFault], told: str
) -> None:
    equipment = Simple()
    scope = driven(equipment)
    # The last frame of the second polarization: what of it was announced already is void.
    equipment.after_frame[8] = lambda: setattr(equipment, changed, value)
    with pytest.raises(fault, match=told):
        expose(scope, SWEEP)
    assert fault.fault_of == "instrument"
    scope.move(*CENTRE)
    equipment.frame = (HEIGHT, WIDTH)
    expose(scope, SWEEP)


def test_an_exposure_that_the_camera_does_not_take_is_refused_before_the_night() -> None:
    equipment = Simple()
    equipment.stuck.add("exposure")
    equipment.exposes_ms = 20.3
    scope = DrivenMicroscope(instrument(backend="simple", frame_px=(HEIGHT, WIDTH)), slides(), equipment)
    told = r"polarizations\.crossed\.exposure_ms is 20, but the camera exposes 20\.3 ms instead"
    with pytest.raises(SettingRefused, match=told):
        scope.prepare()
    equipment.exposes_ms = 20.2
    scope.prepare()


def test_a_camera_that_somebody_else_uses_is_asked_for_before_anything_moves() -> None:
    equipment = Simple()
    scope = driven(equipment)
    equipment.used = "the camera is running already; stop live"
    equipment.told.clear()
    with pytest.raises(InUse, match="stop live"):
        expose(scope, SWEEP)
    assert equipment.told == []


def test_light_is_waited_for_and_read_back() -> None:
    equipment = Simple()
    scope = driven(equipment)
    equipment.stuck.add("light")
    scope.light(True)
    with pytest.raises(LightFault, match="lamp reads back open"):
        scope.light(False)


@pytest.mark.parametrize(
    ("raised", "fault"),
    [
        (ValueError("code 17"), DeviceFault),
        (TimeoutError("no answer"), DeviceTimeout),
        (ConnectionResetError("gone"), HardwareLost),
    ],
)
def test_whatever_equipment_raises_says_what_was_being_done(raised: Exception, fault: type[Exception]) -> None:
    equipment = Simple()
    scope = driven(equipment)
    equipment.in_the_way["z"] = raised
    with pytest.raises(fault, match=f"the z stage to 1.00 um: .*{raised}"):
        scope.focus(1.0)


@pytest.mark.parametrize(
    ("stuck", "act", "fault"),
    [
        ("z", lambda scope: scope.focus(5.0), StageStuck),
        ("xy", lambda scope: scope.move(CENTRE[0] + 100, CENTRE[1]), StageStuck),
        ("state", lambda scope: scope.polarize("crossed"), PresetNotReached),
    ],
)
def test_what_reads_back_otherwise_is_a_fault_at_its_deadline(stuck: str, act: Any, fault: type[Exception]) -> None:
    equipment = Simple()
    scope = driven(equipment)
    equipment.stuck.add(stuck)
    equipment.told.clear()
    with pytest.raises(fault):
        act(scope)
    assert (equipment.told[-1] == ("stop stages",)) is (stuck != "state")


def test_light_that_reads_back_otherwise_is_a_fault_before_anything_moves() -> None:
    equipment = Simple()
    scope = driven(equipment)
    equipment.lit = False
    equipment.told.clear()
    with pytest.raises(LightFault, match="lamp reads back closed"):
        expose(scope, SWEEP)
    assert equipment.told == []
    # After a failed exposure the light is commanded again, and after one that went well it is not.
    expose(scope, SWEEP)
    assert equipment.told[0] == ("light", True)
    equipment.told.clear()
    expose(scope, SWEEP)
    assert ("light", True) not in equipment.told


def test_each_step_of_making_safe_is_taken_whatever_becomes_of_the_others() -> None:
    equipment = Simple()
    scope = driven(equipment)
    scope.focus(0.0)
    equipment.told.clear()
    equipment.in_the_way = {"stop": OSError("no"), "light": OSError("no")}
    assert not scope.make_safe()
    assert equipment.told == [("stop",), ("stop stages",), ("light", False), ("z", -280.0)]
    assert scope.trouble == ("no", "no", "lamp is open or busy still; close it by hand")
    with pytest.raises(FieldFault, match="made safe"):
        scope.focus(0.0)
    equipment.in_the_way.clear()
    scope.close()
    assert equipment.told[-1] == ("close",)


def test_a_call_that_hangs_does_not_keep_others_from_making_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    equipment = Simple()
    scope = driven(equipment)
    hanging, release = threading.Event(), threading.Event()

    def hang() -> Image:
        hanging.set()
        release.wait(20)
        raise OSError("ended")

    monkeypatch.setattr(equipment, "snap", hang)
    outcome: list[BaseException] = []

    def expose_all() -> None:
        try:
            expose(scope, SWEEP)
        except FieldFault as error:
            outcome.append(error)

    thread = threading.Thread(target=expose_all)
    thread.start()
    assert hanging.wait(20)
    assert scope.make_safe()
    assert (equipment.z, equipment.lit) == (-280.0, False)
    release.set()
    thread.join(20)
    assert outcome


def test_a_camera_that_is_not_that_of_the_settings_is_refused() -> None:
    with pytest.raises(
        SettingRefused, match=r"instrument\.frame_px is \[64, 64\], but the camera delivers 64 rows of 80"
    ):
        DrivenMicroscope(instrument(frame_px=(64, 64)), slides(), Simple())
    with pytest.raises(SettingRefused, match="32 bits a pixel"):
        DrivenMicroscope(instrument(frame_px=(HEIGHT, WIDTH)), slides(), Simple(bits=32))


class Timed(Simple):
    """Equipment whose camera steps the z stage; its numbers are those a test gives it."""

    longest_sequence = 10

    def __init__(self, numbers: list[int]) -> None:
        super().__init__()
        self.numbers = numbers
        self.waiting: list[int] = []

    def start_sequence(self, heights_um: Any) -> None:
        self.note("sequence", *heights_um)
        self.waiting = list(self.numbers)

    def frames_waiting(self) -> int:
        return len(self.waiting)

    def take_frame(self) -> tuple[Image, int]:
        return self.snap(), self.waiting.pop(0)


def test_numbers_of_a_timed_sequence_are_contiguous_or_it_is_a_fault() -> None:
    assert len(expose(driven(Timed([0, 1, 2, 3])), SWEEP)[1]) == 8
    equipment = Timed([0, 2, 3])
    with pytest.raises(FrameFault, match="plane 1 of crossed arrived with the number 2"):
        expose(driven(equipment), SWEEP)
    assert equipment.told[-1] == ("stop",)
    with pytest.raises(FrameFault, match="1 frames more"):
        expose(driven(Timed([0, 1, 2, 3, 4])), SWEEP)


def test_exposures_are_told_apart_by_what_is_exposed() -> None:
    begun: list[tuple[Exposure, Sweep]] = []
    staged: list[tuple[str, int]] = []

    class Listening(Simple):
        def begin(self, exposure: Exposure, sweep: Sweep) -> None:
            begun.append((exposure, sweep))

        def stage(self, state: str, plane: int) -> None:
            staged.append((state, plane))

    expose(driven(Listening()), SWEEP, field=3)
    assert begun == [(Exposure(1, 3, 0), SWEEP)]
    assert staged == [(state, plane) for state in ("crossed", "parallel") for plane in range(4)]


def test_a_sweep_says_who_steps_the_focus_drive() -> None:
    timed = Timed([0, 1, 2, 3])
    scope = driven(timed)
    for by_sequence, sequences in ((None, 2), (False, 0), (True, 2)):
        timed.told.clear()
        expose(scope, replace(SWEEP, by_sequence=by_sequence))
        assert [what for what, *_ in timed.told].count("sequence") == sequences
    with pytest.raises(SettingRefused, match="cannot be stepped by the camera through 4 planes"):
        expose(driven(Simple()), replace(SWEEP, by_sequence=True))
