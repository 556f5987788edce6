"""What a night's records look like to those who watch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from daemon.config.model import NightConfig
from daemon.config.samples import SAMPLE
from daemon.config.taxonomy import Taxonomy
from daemon.protocols.pipes import Strip
from daemon.protocols.watching import About, EventNotice, FieldDone, Find, Overview, ShownObject, SlidePlan, Specimens
from daemon.records.fields import PlannedField
from daemon.records.records import Event, FieldSecured, FieldSkipped, NightStarted

EXPOSING = ("move", "expose")
"""Names of the seconds of a field that the microscope takes."""


def about_night(config: NightConfig, plan: Sequence[PlannedField], started: NightStarted, dataset: str = "") -> About:
    """Return what does not change in a night.

    Parameters
    ----------
    dataset
        where what it records is kept, in words.
    """
    height, width = config.instrument.frame_px
    pixel_um = config.instrument.pixel_um
    slides = tuple(
        SlidePlan(
            position=slide.position,
            sample=started.samples[slide.position][SAMPLE],
            centre_um=slide.centre_um,
            size_um=slide.size_um,
            places=tuple((planned.x_um, planned.y_um) for planned in plan if planned.slide == slide.position),
        )
        for slide in sorted(config.scan.slides, key=lambda slide: slide.position)
    )
    taxonomy = Taxonomy.from_json(started.taxonomy) or Taxonomy(())
    return About(
        night=started.night,
        began_utc=started.utc,
        slides=slides,
        frame_um=(width * pixel_um, height * pixel_um),
        polarizations=config.scan.polarizations,
        planes=config.scan.planes,
        step_um=config.scan.step_um,
        weights_sha256=started.weights_sha256,
        calibrations=started.calibrations,
        version=started.versions["lamelle"],
        named_by=started.named_by,
        taxa={taxon.identifier: taxon.name for taxon in taxonomy.taxa},
        dataset=dataset,
    )


def field_done(
    record: FieldSecured | FieldSkipped, planned: PlannedField, before: FieldSecured | FieldSkipped | None = None
) -> FieldDone:
    """Return in short what became of a field.

    Parameters
    ----------
    record
        the attempt at it that counts.
    planned
        where it lies.
    before
        the attempt that counted before, if it was told.
    """
    if isinstance(record, FieldSkipped):
        return FieldDone(
            slide=record.slide,
            field=record.field,
            utc=record.utc,
            x_um=planned.x_um,
            y_um=planned.y_um,
            reason=record.reason,
            reason_code=record.reason_code,
            attempt=record.attempt,
        )
    finds = _finds(record)
    return FieldDone(
        slide=record.slide,
        field=record.field,
        utc=record.utc,
        x_um=record.x_um,
        y_um=record.y_um,
        objects=len(finds),
        focus_z_um=record.focus.z_um,
        seconds=sum(record.seconds.get(name, 0.0) for name in EXPOSING),
        backgrounds_dn=record.backgrounds_dn,
        finds=finds,
        attempt=record.attempt,
        instead_of=_finds(before),
    )


def _finds(record: FieldSecured | FieldSkipped | None) -> tuple[Find, ...]:
    if not isinstance(record, FieldSecured):
        return ()
    return tuple(msgspec.convert(row, Find, from_attributes=True) for row in record.counted_objects)


def notice_of(event: Event) -> EventNotice:
    """Return an event as watchers are sent it."""
    return msgspec.convert(event, EventNotice, from_attributes=True)


def overview_of(record: FieldSecured, frame_px: tuple[int, int], views: tuple[str, ...]) -> Overview:
    """Describe the pictures of a field, and what was found in it."""
    objects = tuple(msgspec.convert(row, ShownObject, from_attributes=True) for row in record.objects)
    return Overview(
        slide=record.slide,
        field=record.field,
        sample=record.sample,
        frame_px=frame_px,
        views=views,
        objects=objects,
        attempt=record.attempt,
    )


def specimens_of(record: FieldSecured, strips: Sequence[Strip]) -> Specimens:
    """Describe the objects of a field that are shown through focus."""
    return Specimens(
        slide=record.slide,
        field=record.field,
        sample=record.sample,
        polarizations=record.polarizations,
        planes=record.shape_czyx[1],
        step_um=record.step_um,
        specimens=tuple(strip.specimen for strip in strips),
        attempt=record.attempt,
    )


def of_other_fields(
    shown: Iterable[tuple[Specimens, tuple[bytes, ...]]], body: Specimens
) -> list[tuple[Specimens, tuple[bytes, ...]]]:
    """Leave out the specimens that an earlier attempt at the field of `body` gave."""
    return [one for one in shown if (one[0].slide, one[0].field) != (body.slide, body.field)]
