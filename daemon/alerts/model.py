"""What the watcher of a night sees, remembers and sends: plain values, some of them kept in a file."""

from __future__ import annotations

import msgspec

from daemon.config.model import AlertKind
from daemon.records.records import AnyRecord
from daemon.run_folder.heartbeat import Heartbeat
from daemon.system.process_table import Running


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One message to a person; `utc` is when it was decided."""

    kind: AlertKind
    text: str
    utc: float


class AlertMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What the watcher keeps between two looks, and in a file between two lives of its own.

    `told` are conditions that were told and hold still; one that ends is forgotten, and told again when it comes back.
    `stale_s` counts how long the heartbeat has stood still while the watcher looked on. `empty` and `unfocused` are
    fields in a row, `field_bytes` of how many `fields`.
    """

    seq: int = 0
    supervisor: Running | None = None
    beat_utc: float = 0.0
    looked_utc: float = 0.0
    stale_s: float = 0.0
    paused_s: float = 0.0
    empty: int = 0
    unfocused: int = 0
    slide: int | None = None
    fields: int = 0
    field_bytes: int = 0
    told: tuple[str, ...] = ()
    ended: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to be seen from outside.

    `supervisor` is the last process that ran the night, and `lives` whether it still does; `heartbeat` the last one it
    gave, None while it has given none; `records` those the memory does not know, `more` whether still others follow.
    `recorded_here` says whether what is recorded fills this computer's disk.
    """

    supervisor: Running | None
    lives: bool
    heartbeat: Heartbeat | None
    records: tuple[tuple[int, AnyRecord], ...]
    more: bool
    recorded_here: bool


class AlertVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from a look: what to remember, what to tell, whether all is well, whether the night is over."""

    memory: AlertMemory
    alerts: tuple[Alert, ...]
    well: bool
    over: bool
