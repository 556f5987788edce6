"""Finds the back-end that `instrument.backend` names: lamelle's own, or one that another distribution offers.

Another distribution offers one by an entry point of the group `lamelle.microscopes`: the name that goes into
`instrument.backend`, and where its `BackEnd` lies. Only the one that is named is imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from drivers.equipment import PROTOCOL_VERSION, BackEnd, Equipment
from drivers.errors import DriverError, SettingRefused
from drivers.settings import Instrument, MiniSlide

GROUP = "lamelle.microscopes"


@dataclass(frozen=True)
class Supplier:
    """Who offers a back-end.

    `sha256` is taken over names and contents of all files of the package, or of the module, that its entry point names.
    """

    distribution: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}, sha256 {self.sha256}"


def find_back_end(name: str) -> BackEnd:
    """Find a back-end by its name in `instrument.backend`.

    Raises
    ------
    SettingRefused
        There is none of this name or more than one, it cannot be imported, or it does not fit this lamelle.
    """
    if (entry := _entry_of(name)) is None:
        return BUILT_IN[name]
    # Nothing of it passes while it is imported: an error of drivers would not name the package.
    with blaming(name, "does not load", passing=()):
        back_end = entry.load()
    if not isinstance(back_end, BackEnd):
        raise SettingRefused(
            f"instrument.backend is {name!r}, but {entry.value} of {_title(entry)} is a {type(back_end).__name__}, "
            f"no BackEnd; {_REMEDY}"
        )
    if back_end.protocol != PROTOCOL_VERSION:
        raise SettingRefused(
            f"instrument.backend is {name!r}, which {_title(entry)} made for version {back_end.protocol!r} of the "
            f"protocol of back-ends, but this lamelle speaks version {PROTOCOL_VERSION}; install a release of either "
            "that fits the other"
        )
    model: Any = back_end.options
    if not (model is None or (isinstance(model, type) and issubclass(model, BaseModel))):
        raise SettingRefused(
            f"instrument.backend is {name!r}, but the options of {entry.value} of {_title(entry)} are {model!r}, "
            f"no pydantic model; {_REMEDY}"
        )
    return back_end


def supplier_of(name: str) -> Supplier | None:
    """Who offers a back-end, found without importing it; None for one of lamelle's own.

    Raises
    ------
    SettingRefused
        There is none of this name or more than one, or its files cannot be read.
    """
    entry = _entry_of(name)
    if entry is None or entry.dist is None:
        return None
    with blaming(name, "cannot be read"):
        return Supplier(entry.dist.name, entry.dist.version, _fingerprint(entry.module))


def check_equipment(instrument: Instrument, planes: int, fields: int) -> Sequence[str]:
    """Let the back-end refuse what cannot work, without touching hardware; return what a person should know.

    Raises
    ------
    SettingRefused
        It cannot be found, or says what does not fit.
    """
    back_end = find_back_end(instrument.backend)
    with blaming(instrument.backend, "cannot check the settings"):
        return back_end.check(instrument, planes, fields) or ()


def open_equipment(instrument: Instrument, slides: Sequence[MiniSlide]) -> Equipment:
    """Open the hardware; nothing moves.

    Raises
    ------
    SettingRefused
        The back-end cannot be found, or a setting does not fit the hardware.
    """
    back_end = find_back_end(instrument.backend)
    with blaming(instrument.backend, "cannot open the hardware"):
        options = None if back_end.options is None else back_end.options.model_validate(instrument.options)
        equipment = back_end.open(instrument, slides, options)
    if not isinstance(equipment, Equipment):
        raise SettingRefused(
            f"instrument.backend is {instrument.backend!r}, which opened a {type(equipment).__name__}, no Equipment; "
            f"{_REMEDY}"
        )
    return equipment


def _entry_of(name: str) -> EntryPoint | None:
    """Entry point that offers a back-end; None for one of lamelle's own."""
    offers = sorted(entry_points(group=GROUP, name=name), key=_title)
    if name in BUILT_IN:
        if offers:
            raise SettingRefused(
                f"instrument.backend is {name!r}, a back-end of lamelle itself, but {_title(offers[0])} offers one of "
                "that name too; uninstall it"
            )
        return None
    if len(offers) > 1:
        raise SettingRefused(
            f"instrument.backend is {name!r}, which {' and '.join(map(_title, offers))} both offer; uninstall all but "
            "one"
        )
    if not offers:
        known = (*BUILT_IN, *sorted(entry_points(group=GROUP).names))
        raise SettingRefused(
            f"instrument.backend is {name!r}, which no installed package offers; choose from {', '.join(known)}, or "
            "install the package of that back-end"
        )
    return offers[0]


_REMEDY = "correct that package, or install another release of it"


def _title(entry: EntryPoint) -> str:
    return entry.value if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"


@contextmanager
def blaming(
    backend: str, what: str, passing: tuple[type[BaseException], ...] = (DriverError, KeyboardInterrupt)
) -> Iterator[None]:
    """Refuse in one sentence whatever a back-end of others raises, an exit too.

    Parameters
    ----------
    backend
        its name in `instrument.backend`.
    what
        what it cannot do, or does not.
    passing
        what may be raised as it is.

    Raises
    ------
    SettingRefused
        It raised something else.
    """
    entry = _entry_of(backend)
    try:
        yield
    except BaseException as error:
        if entry is None or isinstance(error, passing):
            raise
        raise SettingRefused(
            f"instrument.backend is {entry.name!r}, which {_title(entry)} offers, but it {what} ({_told(error)}); "
            f"{_REMEDY}"
        ) from error


def _told(error: BaseException) -> str:
    """Write an error on one line; that of others may not even be able to say what it is."""
    try:
        text = str(error).strip().partition("\n")[0]
    except Exception:  # noqa: BLE001 - whatever it is, the name of the error is told
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _fingerprint(module: str) -> str:
    digest = hashlib.sha256()
    for name, path in sorted(_files(module)):
        content = path.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _files(module: str) -> Iterator[tuple[str, Path]]:
    """Files of the outermost package of a module that is no mere namespace, or of the module itself."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        spec = importlib.util.find_spec(".".join(parts[:depth]))
        if spec is None:
            raise ModuleNotFoundError(f"no module named {module}")
        if spec.origin is None:
            continue
        file = Path(spec.origin)
        if spec.submodule_search_locations is None:
            yield file.name, file
            return
        for path in file.parent.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(file.parent).as_posix(), path
        return
    raise ModuleNotFoundError(f"{module} is a folder without modules")


# lamelle's own: what they need is imported where they are named. -----------------------------------------------------


def _open_headless(instrument: Instrument, _slides: Sequence[MiniSlide], _options: Any) -> Equipment:
    from drivers.micromanager.devices import open_headless

    return open_headless(instrument)


def _open_bridge(instrument: Instrument, _slides: Sequence[MiniSlide], _options: Any) -> Equipment:
    from drivers.micromanager.devices import open_bridge

    return open_bridge(instrument)


def _open_emulated(instrument: Instrument, slides: Sequence[MiniSlide], _options: Any) -> Equipment:
    from drivers.emulated.core import open_emulated

    return open_emulated(instrument, slides)


def _open_replay(instrument: Instrument, slides: Sequence[MiniSlide], _options: Any) -> Equipment:
    from drivers.recorded.replay import open_replay

    return open_replay(instrument, slides)


def _check_hardware_file(instrument: Instrument, _planes: int, _fields: int) -> None:
    from drivers.micromanager.hardware_file import check_hardware_file

    check_hardware_file(instrument)


def _check_recording(instrument: Instrument, planes: int, fields: int) -> Sequence[str]:
    from drivers.recorded.replay import check_recording

    return check_recording(instrument, planes, fields)


BUILT_IN = {
    "micromanager": BackEnd(PROTOCOL_VERSION, _open_headless, check=_check_hardware_file),
    "bridge": BackEnd(PROTOCOL_VERSION, _open_bridge, check=_check_hardware_file),
    "emulated": BackEnd(PROTOCOL_VERSION, _open_emulated, check=_check_hardware_file, hardware=False),
    "replay": BackEnd(PROTOCOL_VERSION, _open_replay, check=_check_recording, hardware=False),
}
