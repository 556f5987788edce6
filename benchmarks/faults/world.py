"""The instrument that a night is tried with: a real core on demo devices, the faults, and a witness below them all.

From the driver down: calls that a fault answers otherwise (`TamperedCore`), the emulated microscope with its own
faults, the witness, the core. What the witness saw is what truly happened.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, cast

from benchmarks.faults.clock import SimulatedTime
from drivers.emulated.core import EmulatedCore
from drivers.micromanager.core import Core, headless_core, release_headless_core
from drivers.micromanager.devices import MicroManager
from drivers.micromanager.presets import stands
from drivers.microscope import Exposure, Sweep
from drivers.settings import ChanceFault, FaultKind, Instrument, MiniSlide

Answering = Callable[..., Any]
"""Answers a call instead of the core: gets the core's own method and the arguments of the call."""
Tampering = Mapping[str, Answering]
"""Which methods of a core are answered otherwise."""
FOR_GOOD_S = 1e9
OPERATORS_MS = 33.0
"""Exposure that somebody had set before the night, with the automatic shutter on."""


class Place(NamedTuple):
    """Of a field, where a fault begins."""

    slide: int
    field: int


@dataclass(frozen=True)
class Trouble:
    """What is wrong with the instrument: an emulated fault or calls that are answered otherwise, from a place on.

    Attributes
    ----------
    lasts_s
        how long; None for what happens once.
    tampering
        names of methods, and how they are answered; see `benchmarks.faults.tampering`.
    always
        whether it is so from the start on.
    """

    place: Place
    lasts_s: float | None
    kind: FaultKind | None = None
    tampering: str | None = None
    always: bool = False

    def emulated(self) -> tuple[ChanceFault, ...]:
        """As the emulated microscope takes it."""
        if self.kind is None:
            return ()
        at = {"slide": self.place.slide, "fields": (self.place.field,)}
        if self.lasts_s is None:
            return (ChanceFault.model_validate({"kind": self.kind, **at}),)
        return (ChanceFault.model_validate({"kind": self.kind, "attempts": None, "lasts_s": self.lasts_s, **at}),)


@dataclass(frozen=True)
class Shot:
    """A frame, and what was true while it was exposed.

    `objective_um` is where the objective was, whatever its drive says; `crc` is of the frame as it was delivered.
    """

    x_um: float
    y_um: float
    z_um: float
    objective_um: float
    state: str
    exposure_ms: float
    shutter_open: bool
    crc: int = 0


@dataclass(frozen=True)
class Standing:
    """How the instrument truly stands, and what an operator would find set."""

    shutter_open: bool
    z_um: float
    auto_shutter: bool
    exposure_ms: float
    preset: str

    @property
    def found(self) -> tuple[bool, float, str]:
        """What an operator had set, and finds again."""
        return self.auto_shutter, self.exposure_ms, self.preset


class World(Protocol):
    """An instrument that outlives the processes that drive it."""

    def open(self) -> MicroManager:
        """Connect to it."""

    def shots(self) -> list[Shot]:
        """Every frame since the last time that somebody asked."""

    def standing(self) -> Standing:
        """How it truly stands."""

    def close(self) -> None:
        """End it."""


class Witness:
    """The real core, and every frame that it exposed."""

    def __init__(self, core: Core, instrument: Instrument) -> None:
        self._core = core
        self._devices = instrument.devices
        self._presets = instrument.polarizations
        self.shots: list[Shot] = []
        self.emulated: EmulatedCore | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def set_xy_position(self, label: str, x_um: float, y_um: float) -> None:
        """Move; the demo stage takes true time for it, which nobody else here goes by."""
        self._core.set_xy_position(label, x_um, y_um)
        for _ in range(400):
            if not self._core.device_busy(label):
                return
            time.sleep(0.0005)

    def snap_image(self) -> None:
        """Expose a frame, and note how."""
        self._core.snap_image()
        self.note()

    def note(self) -> None:
        """Note that a frame is exposed."""
        assert self.emulated is not None
        core, devices = self._core, self._devices
        self.shots.append(
            Shot(
                x_um=core.get_x_position(devices.xy_stage),
                y_um=core.get_y_position(devices.xy_stage),
                z_um=core.get_position(devices.focus),
                objective_um=self.emulated.objective_um,
                state=self._state(),
                exposure_ms=self.emulated.get_exposure(),
                shutter_open=self._shutter_open() or core.get_auto_shutter(),
            )
        )

    def standing(self) -> Standing:
        """How the instrument truly stands."""
        assert self.emulated is not None
        core = self._core
        return Standing(
            shutter_open=self._shutter_open(),
            z_um=core.get_position(self._devices.focus),
            auto_shutter=core.get_auto_shutter(),
            exposure_ms=self.emulated.get_exposure(),
            preset=self._state(),
        )

    def _shutter_open(self) -> bool:
        return self._devices.shutter is not None and self._core.get_shutter_open(self._devices.shutter)

    def _state(self) -> str:
        for state, preset in self._presets.items():
            if stands(self._core, preset.group, preset.preset):
                return state
        return ""


class TamperedCore:
    """The emulated core as the driver sees it: some calls are answered otherwise while a fault lasts.

    The frames that it delivers are noted by the witness.
    """

    def __init__(
        self, core: EmulatedCore, witness: Witness, trouble: Trouble, tampering: Tampering, now: Callable[[], float]
    ) -> None:
        self._core = core
        self._witness = witness
        self._trouble = trouble
        self._tampering = tampering
        self._now = now
        self._ends_s = math.inf if trouble.always else -math.inf
        self._begun = trouble.always

    def stage(self, exposure: Exposure, state: str, plane: int) -> None:
        """Take in which plane is exposed next; the fault begins at its place."""
        self._core.stage(exposure, state, plane)
        if not self._begun and (exposure.slide, exposure.field) == self._trouble.place:
            self._begun = True
            self._ends_s = self._now() + (self._trouble.lasts_s or 0.0)

    def prepare(self) -> None:
        """Make the virtual slide."""
        self._core.prepare()

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._core, name)
        answering = self._tampering.get(name)
        if answering is None or self._now() >= self._ends_s:
            return real
        return lambda *arguments: answering(real, *arguments)

    def get_image(self) -> Any:
        """Fetch the frame."""
        image = self.__getattr__("get_image")()
        self._delivered(image)
        return image

    def pop_next_tagged_image(self) -> Any:
        """Fetch the next frame of a sequence."""
        taken = self.__getattr__("pop_next_tagged_image")()
        self._witness.note()
        self._delivered(taken.pix)
        return taken

    def _delivered(self, image: Any) -> None:
        shots = self._witness.shots
        shots[-1] = replace(shots[-1], crc=zlib.crc32(image.tobytes()))


class ToldMicroManager(MicroManager):
    """Devices of Micro-Manager that are told which plane comes next, as the emulated ones have to be."""

    def __init__(
        self,
        instrument: Instrument,
        core: Core,
        release: Callable[[], None],
        *connection: Any,
        tell: Callable[[Exposure, str, int], None],
        prepare: Callable[[], None],
    ) -> None:
        super().__init__(instrument, core, release, *connection)
        self._tell = tell
        self._prepare = prepare
        self._exposure = Exposure(0, 0)

    def prepare(self) -> None:
        """Make the virtual slide."""
        self._prepare()

    def begin(self, exposure: Exposure, _sweep: Sweep) -> None:
        """Take in which stack is exposed next."""
        self._exposure = exposure

    def stage(self, state: str, plane: int) -> None:
        """Take in which plane is exposed next."""
        self._tell(self._exposure, state, plane)


class WorldHere:
    """An instrument in this process."""

    def __init__(
        self,
        instrument: Instrument,
        slides: Sequence[MiniSlide],
        trouble: Trouble,
        tampering: Tampering,
        passing: SimulatedTime,
    ) -> None:
        self._instrument = instrument
        emulated = _with_fault(instrument, trouble)
        self.witness = Witness(headless_core(emulated), emulated)
        core = EmulatedCore(cast(Core, self.witness), emulated, slides, passing.of_drivers())
        self.witness.emulated = core
        core.set_auto_shutter(True)
        core.set_exposure(OPERATORS_MS)
        self.core = TamperedCore(core, self.witness, trouble, tampering, passing.now)

    def open(self) -> MicroManager:
        """Connect to it."""
        core = self.core
        return ToldMicroManager(self._instrument, cast(Core, core), lambda: None, tell=core.stage, prepare=core.prepare)

    def shots(self) -> list[Shot]:
        """Every frame since the last time that somebody asked."""
        shots, self.witness.shots = self.witness.shots, []
        return shots

    def standing(self) -> Standing:
        """How it truly stands."""
        return self.witness.standing()

    def close(self) -> None:
        """Unload the devices."""
        release_headless_core()


def _with_fault(instrument: Instrument, trouble: Trouble) -> Instrument:
    assert instrument.emulation is not None
    emulation = instrument.emulation.model_copy(update={"faults": trouble.emulated()})
    return instrument.model_copy(update={"emulation": emulation, "backend": "emulated"})
