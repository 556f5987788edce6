"""How a recorded night stands: what its records say, and its run folder where that is at hand."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import msgspec

from daemon.dataset.exclusions import standing_exclusions
from daemon.dataset.reader import Dataset
from daemon.protocols.watching import Verdict
from daemon.records.attempts import AttemptName
from daemon.records.states import NightState
from daemon.run_folder.folder import RunFolder
from daemon.run_folder.heartbeat import read_heartbeat
from daemon.system.errors import DamagedFile, Refused
from daemon.system.process_table import read_processes
from daemon.verdict.facts import FactsGatherer, UnlikeSlide
from daemon.verdict.verdict import judge

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFolderStanding:
    """What a run folder says of its night beside the records: whether its process lives, its last state, and why.

    `alive` is None where its table of processes cannot be read, `state` of a night that has not said anything yet;
    `unsafe` is what could not be made safe.
    """

    alive: bool | None
    state: NightState | None
    reason: str
    unsafe: str | None = None


def standing_of(run: Path) -> RunFolderStanding | None:
    """Ask a run folder how its night stands; None where the folder is none."""
    if not RunFolder(run).journal.exists():
        return None
    alive: bool | None = None
    try:
        supervisor = read_processes(run).get("supervisor")
        alive = supervisor is not None and supervisor.find() is not None
    except DamagedFile as error:
        _log.warning("whether the night still runs cannot be told: %s", error)
    try:
        heartbeat = read_heartbeat(run)
    except (OSError, msgspec.DecodeError):  # a night that has not said anything yet
        return RunFolderStanding(alive, None, "")
    # What was said last may be long ago, where nobody knows whether the one who said it lives.
    said = (heartbeat.state, heartbeat.reason) if alive is not None or heartbeat.state.ended else (None, "")
    return RunFolderStanding(alive, said[0], said[1], heartbeat.unsafe or None)


def run_of(folder: Path, dataset: Dataset) -> Path | None:
    """Find the run folder that a dataset lies in, or None.

    Parameters
    ----------
    folder
        what a person named: a run folder or a dataset.
    """
    return next((place for place in (folder, dataset.folder.parent) if RunFolder(place).journal.exists()), None)


def verdict_of(
    dataset: Dataset, standing: RunFolderStanding | None, faults: int, unlike: tuple[UnlikeSlide, ...] = ()
) -> Verdict:
    """Judge a recorded night.

    Parameters
    ----------
    dataset
        that holds it.
    standing
        of its run folder, if that is at hand.
    faults
        how many things are not as they should be with the dataset.
    unlike
        mini-slides that look unlike the classifier's library.

    Raises
    ------
    Refused
        The dataset holds no night yet.
    """
    started = dataset.night()
    if started is None:
        raise Refused(f"{dataset.folder} holds no night yet; its first record has not arrived, so wait for it")
    said = (one for one in standing_exclusions(dataset).fields.values() if one.word is not None)
    gatherer = FactsGatherer(started, {AttemptName(one.slide, one.field, one.attempt): one.counted for one in said})
    for _, record in dataset.records():
        gatherer.add(record)
    if standing is None:
        return judge(gatherer.facts(None, "", alive=None, dataset_faults=faults, unlike=unlike))
    return judge(
        gatherer.facts(
            standing.state,
            standing.reason,
            alive=standing.alive,
            unsafe=standing.unsafe,
            dataset_faults=faults,
            unlike=unlike,
        )
    )
