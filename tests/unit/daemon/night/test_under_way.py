"""What a night knows of a mini-slide when fields of it are taken again."""

from __future__ import annotations

from daemon.night.focus_following import FocusFollower
from daemon.night.under_way import SlideUnderWay
from daemon.records.attempts import Purpose
from daemon.records.fields import PlannedField
from daemon.records.records import FocusResult
from tests.support.emulated_stacks import night


def test_where_a_field_without_oil_was_sharpest_is_forgotten_when_fields_are_taken_again() -> None:
    config = night()
    settings = config.scan.slides[0]
    follower = FocusFollower.of(config, settings)
    fields = [
        PlannedField(
            slide=1,
            field=number,
            sample="s",
            x_um=settings.centre_um[0] + 50.0 * number,
            y_um=settings.centre_um[1],
            tile_um=(0.0, 0.0, 1.0, 1.0),
            attempt=2,
            purpose=Purpose.REDO,
        )
        for number in (1, 2)
    ]
    slide = SlideUnderWay(settings, fields, fields, follower, again=True)
    slide.searches[1] = slide.results[1] = FocusResult(z_um=9.0, at_edge=False, contrast=1.3)
    slide.results[2] = FocusResult(z_um=8.0, at_edge=False, contrast=1.2)
    assert not follower.needs_search(fields[1], slide.known_for(fields[1]))
    for one in fields:
        slide.forget_focus(one.field)
    assert slide.known_for(fields[1]) == []
    assert follower.needs_search(fields[1], slide.known_for(fields[1]))
