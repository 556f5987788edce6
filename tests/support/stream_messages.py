"""Messages of the stream for watchers, and a night that publishes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from daemon.config.model import Watch
from daemon.live.publisher import Broadcaster
from daemon.protocols.watching import (
    About,
    Counters,
    FieldDone,
    Find,
    Overview,
    ShownObject,
    SlidePlan,
)
from daemon.system.errors import Refused

PLACES = ((0.0, 0.0), (60.0, 0.0), (120.0, 0.0))


ABOUT = About(
    night="night", began_utc=1.7e9, frame_um=(60.0, 60.0), polarizations=("crossed", "parallel"), planes=9, step_um=0.3,
    weights_sha256="0" * 64, calibrations=(), version="0.1.0",
    slides=tuple(
        SlidePlan(position=n, sample=f"core-{n}", centre_um=(0.0, 0.0), size_um=(180.0, 60.0), places=PLACES)
        for n in (1, 2)
    ),
)  # fmt: skip


def overview(slide: int, field: int) -> Overview:
    seen = ShownObject(
        number=0, box=(1, 2, 30, 40), class_name="coccolith", score=0.9, below_threshold=False, counted=True
    )
    return Overview(
        slide=slide, field=field, sample=f"core-{slide}", frame_px=(1024, 1024), views=("fused",), objects=(seen,)
    )


def counters(secured: int) -> Counters:
    return Counters(
        planned=6, secured=secured, skipped=0, objects=2, fields_per_s=0.8, seconds_left=None, slide=1, spool_bytes=10,
        spool_limit_bytes=100, acknowledged=secured, backlog=0, ring_used=1, ring_stacks=3, disk_free_bytes=10**9,
        disk_hours=None,
    )  # fmt: skip


def done(slide: int, field: int, *finds: Find) -> FieldDone:
    return FieldDone(slide=slide, field=field, utc=1.7e9 + field, x_um=0.0, y_um=0.0, objects=len(finds), finds=finds)


def find(length_um: float | None = 5.0, mass_pg: float | None = 9.58) -> Find:
    return Find(class_name="coccolith", length_um=length_um, mass_pg=mass_pg)


@contextmanager
def night(before: tuple[FieldDone, ...] = ()) -> Iterator[Broadcaster]:
    made = Broadcaster(Watch(), ABOUT, before=before)
    made.start()
    try:
        yield made
    finally:
        made.close()


def nowhere() -> str:
    raise Refused("the night does not run")
