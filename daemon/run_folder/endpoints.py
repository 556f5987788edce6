"""Where a night that runs can be reached: written down beside its heartbeat, so that a run folder is address enough."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from daemon.protocols.sockets import is_local
from daemon.run_folder.folder import RunFolder
from daemon.system.durable_files import replacing
from daemon.system.errors import Refused
from daemon.system.process_table import read_processes

Which = Literal["publish", "snapshot", "control"]


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """Endpoints of a night as they were bound, and where what it records is kept, in words.

    `control` is None where it takes no orders, `dataset` empty in run folders of earlier versions.
    """

    publish: str
    snapshot: str
    control: str | None
    dataset: str = ""


def write_endpoints(run: Path, bound: Bound) -> None:
    """Write down where a night can be reached; raises `OSError` where that cannot be written."""
    with replacing(RunFolder(run).endpoints) as stream:
        stream.write(msgspec.json.encode(bound))


def find_endpoint(place: str, which: Which = "snapshot", *, begun: bool = True) -> Callable[[], str]:
    """Return how to find an endpoint of a night.

    Parameters
    ----------
    place
        an endpoint, which is given back, or the run folder of a night on this computer.
    which
        of the endpoints in the run folder.
    begun
        whether the run folder must be there already; else its night may begin later.

    Returns
    -------
    A function that looks anew at each call, for a night that was resumed is elsewhere. It raises `Refused` while the
    night does not run, or where it takes no orders and those are looked for.

    Raises
    ------
    Refused
        `place` is neither.
    """
    if "://" in place:
        is_local(place)
        return lambda: place
    run = Path(place)
    if not run.is_dir() and (begun or run.exists()):
        raise Refused(f"{place!r} is neither a run folder nor an endpoint such as tcp://127.0.0.1:5555; name one")
    return lambda: _look(run, which)


def runs_in(run: Path) -> bool:
    """Whether the process of a night runs that has this run folder; raises `DamagedFile`."""
    supervisor = read_processes(run).get("supervisor")
    return supervisor is not None and supervisor.find() is not None


def read_endpoints(run: Path) -> Bound:
    """Read where a night can be reached, or could be when it ran last.

    Raises
    ------
    Refused
        It has not said so yet, or that cannot be read.
    """
    path = RunFolder(run).endpoints
    try:
        return msgspec.json.decode(path.read_bytes(), type=Bound)
    except FileNotFoundError as error:
        raise Refused(f"the night in {run} has not said yet where it can be reached; try again in a moment") from error
    except (msgspec.DecodeError, OSError) as error:
        raise Refused(f"{path} cannot be read ({error}); name the endpoint, which the log tells") from error


def _look(run: Path, which: Which) -> str:
    if not run.exists():
        raise Refused(f"no night has begun in {run} yet; begin one with `lamelle scan`, or name another run folder")
    if not runs_in(run):
        raise Refused(f"no night runs in {run}; begin one with `lamelle scan`, or go on with --resume")
    endpoint: str | None = getattr(read_endpoints(run), which)
    if endpoint is None:
        raise Refused(
            f"the night in {run} takes no orders; a night whose configuration has a control.endpoint, such as "
            "tcp://127.0.0.1:*, does"
        )
    return endpoint
