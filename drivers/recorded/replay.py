"""Replay: recorded stacks are the camera, so that a laboratory rehearses a night on its own archive."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from drivers.equipment import Equipment, Image
from drivers.errors import SettingRefused
from drivers.micromanager.core import versions
from drivers.microscope import Exposure, Identity, ReplayedFile, Stack, Sweep
from drivers.recorded.recording import Recording, read_recording, replayed_planes
from drivers.settings import Instrument, MiniSlide, Replay


def open_replay(instrument: Instrument, slides: Sequence[MiniSlide]) -> Replayed:
    """Open the recording that the settings name.

    Raises
    ------
    SettingRefused
        There is none, or its frames are not those of the settings.
    """
    recording = read_recording(_settings(instrument), tuple(instrument.polarizations))
    recording.check(instrument)
    return Replayed(instrument, slides, recording)


def check_recording(instrument: Instrument, planes: int, fields: int) -> tuple[str, ...]:
    """Refuse what the recording cannot serve; return what a person should know of it.

    Raises
    ------
    SettingRefused
        It says what does not fit.
    """
    settings = _settings(instrument)
    if not settings.folder.is_dir():
        raise SettingRefused(
            f"instrument.replay.folder is {str(settings.folder)!r}, which is not a folder; correct the path"
        )
    recording = read_recording(settings, tuple(instrument.polarizations))
    recording.check(instrument, planes, fields)
    recording.look()
    return (*recording.notes, *recording.passed_over(fields))


def _settings(instrument: Instrument) -> Replay:
    if instrument.replay is None:
        raise SettingRefused("instrument.replay is missing, but instrument.backend is 'replay'; name the recording")
    return instrument.replay


class Replayed(Equipment):
    """Equipment that sees recorded stacks.

    The nth field of a mini-slide is the nth recorded one. A sweep sees the recorded planes spread evenly over its own,
    first on first and last on last, whatever its z: the recording decides where the sample is in focus. Moves take no
    time.
    """

    recorded = True

    def __init__(self, instrument: Instrument, slides: Sequence[MiniSlide], recording: Recording) -> None:
        _, _, height, width = recording.shape_czyx
        self._recording = recording
        self._states = tuple(instrument.polarizations)
        self._xy_um = slides[0].centre_um
        self._z_um = instrument.motion.withdrawn_z_um
        self._identity = Identity(
            "replay", str(recording.folder), height, width, recording.bit_depth, versions(), recording.notes
        )
        self._read: tuple[int, int] | None = None
        self._stack: Stack = np.empty((0, 0, 0, 0), np.uint16)
        self._files: tuple[ReplayedFile, ...] = ()
        self._sources: list[int] = []
        self._shown = 0, 0

    @property
    def identity(self) -> Identity:
        """What the recording says of itself."""
        return self._identity

    def sources(self) -> tuple[ReplayedFile, ...]:
        """Files of the stack that is shown."""
        return self._files

    def move_xy(self, x_um: float, y_um: float) -> None:
        """Take note of a stage position."""
        self._xy_um = x_um, y_um

    def xy_um(self) -> tuple[float, float]:
        """Return the position that was noted last."""
        return self._xy_um

    def move_z(self, z_um: float) -> None:
        """Take note of a height."""
        self._z_um = z_um

    def z_um(self) -> float:
        """Return the height that was noted last."""
        return self._z_um

    def polarize(self, state: str) -> None:
        """Do nothing: `stage` says what is seen."""

    def set_exposure(self, exposure_ms: float) -> None:
        """Do nothing: the stacks are exposed already."""

    def light(self, on: bool) -> None:
        """Do nothing: the light was on when the stacks were recorded."""

    def begin(self, exposure: Exposure, sweep: Sweep) -> None:
        """Read a field, once for all its sweeps, and spread its planes over those of the sweep."""
        if not sweep.lit or sweep.exposures_ms is not None or sweep.step_um <= 0:
            raise SettingRefused(
                "instrument.backend is 'replay', and a recording cannot be exposed in another way than it was; "
                "calibrate on the microscope itself"
            )
        key = (exposure.slide, exposure.field)
        if key != self._read:
            self._stack, self._files = self._recording.read(*key)
            self._read = key
        self._sources = replayed_planes(self._stack.shape[1], sweep.planes)

    def stage(self, state: str, plane: int) -> None:
        """Show a recorded plane."""
        self._shown = self._states.index(state), self._sources[plane]

    def snap(self) -> Image:
        """Return the plane that is shown."""
        state, plane = self._shown
        image: Image = self._stack[state, plane]
        return image

    def stop(self) -> None:
        """Do nothing: nothing moves."""

    def close(self) -> None:
        """Do nothing: the files are closed."""
