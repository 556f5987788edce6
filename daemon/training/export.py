"""The detector made ready for other runtimes: what stands behind `lamelle export` and `lamelle engine`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from daemon.system.durable_files import make_folder, replacing, sha256_of
from daemon.system.errors import Refused
from inference.network.detected import Precision
from inference.network.trained import Trained
from inference.runtimes.engines import Engine, engine, kept_engines, library
from inference.runtimes.onnx_model import Form, onnx_model
from inference.settings import DetectorSettings

SIZE = re.compile(r"(\d+)(?:x(\d+))?")
SMALLEST_PX, LARGEST_PX = 64, 8192


def form_of(size: str, batch: int, precision: Precision) -> Form:
    """Read the size of views, as `512` or `height x width`.

    Raises
    ------
    Refused
        It is no size that can be meant.
    """
    read = SIZE.fullmatch(size)
    sides = [int(side) for side in read.groups() if side] if read else []
    if not sides or not all(SMALLEST_PX <= side <= LARGEST_PX for side in sides):
        raise Refused(
            f"--size {size!r} is not a size of views; give {SMALLEST_PX} to {LARGEST_PX} px, such as 512, "
            "or 480x640 for height and width"
        )
    return Form((sides[0], sides[-1]), batch, precision)


def export(detector: DetectorSettings, form: Form, into: Path) -> str:
    """Write the ONNX file of a detector; returns one line about it.

    Raises
    ------
    Refused
        The file cannot be written.
    WeightsRefused
        The weights do not fit the detector.
    RuntimeRefused
        The model cannot be made.
    """
    model = onnx_model(Trained.of(detector), form)
    try:
        make_folder(into.resolve().parent)
        with model.path.open("rb") as kept, replacing(into) as stream:
            shutil.copyfileobj(kept, stream)
    except OSError as error:
        raise Refused(f"--into {str(into)!r} cannot be written ({error}); name another file") from error
    return f"{into}  {form}  {into.stat().st_size / 1e6:.1f} MB  sha256 {sha256_of(into)}"


def build_engine(detector: DetectorSettings, form: Form) -> str:
    """Build the engine of a detector, unless it is kept; returns lines that say where it lies and what it is.

    Raises
    ------
    WeightsRefused
        The weights do not fit the detector.
    RuntimeRefused
        The engine cannot be built.
    """
    trained = Trained.of(detector)
    # Before half a minute goes into a model for it.
    library()
    return _told(engine(onnx_model(trained, form)))


def list_engines() -> str:
    """Return of every engine that is kept where it lies and what it is."""
    told = [
        _told(kept) + ("" if whole else "\n  changed by somebody; made again when needed")
        for kept, whole in kept_engines()
    ]
    return "\n".join(told) or "no engine is kept here; 'lamelle engine build' makes one"


def _told(built: Engine) -> str:
    card = built.card
    form = Form(card.size, card.batch, card.precision)
    return (
        f"{built.path}\n"
        f"  {form}, of weights {card.weights_sha256[:12]}\n"
        f"  {card.library} {card.version}, for {card.gpu}, built in {card.built_s:.0f} s\n"
        f"  {built.path.stat().st_size / 1e6:.1f} MB, sha256 {built.sha256()}"
    )
