"""A report as one HTML file that needs nothing else: pictures inside, no script, light or dark as the reader likes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from daemon.figures import palette
from daemon.figures.html import write_html
from daemon.report import words as words
from daemon.report.fields_shown import FieldPicture
from daemon.report.objects import ObjectShown
from daemon.report.words import NightReport, Table

RULES = {
    "finest": "Of each taxon, or class: whole, sure, in focus and undisturbed ones, the sharpest first, in turn from "
    "each mini-slide; where there are none, what there is.",
    "doubtful": "Most flags, lowest scores, least certain masses first, in turn from each mini-slide.",
    "fields": "What the detector looked at, in each polarization. Of each mini-slide an ordinary field first, then "
    "those that are not like it, the first of several alike.",
}


@dataclass(frozen=True)
class _PagePicture:
    source: str
    without: str
    title: str
    measured: str
    where: str


@dataclass(frozen=True)
class _SlideSection:
    number: int
    sample: str
    about: str
    kinds: Table
    taxa: Table
    charts: Sequence[tuple[str, Markup]]


def write_page(into: Path, report: NightReport) -> None:
    """Write the page, whole or not at all."""
    numbers = report.numbers
    charts = {one.slide: one.charts for one in report.slide_charts}
    timing, needed = words.timing(report)
    excluded = bool(numbers.excluded_fields)
    write_html(
        into,
        "report.html.j2",
        night=numbers.started.night,
        heading=words.heading(numbers),
        verdict=report.verdict,
        facts=words.facts(numbers),
        counted=words.counted(numbers),
        samples=words.samples(numbers),
        kinds=words.kinds(numbers.kinds, excluded=excluded),
        taxa=words.kinds(numbers.taxa, "taxon", excluded=excluded),
        unlike=words.unlike(numbers),
        night_charts=[(chart.about, Markup(chart.svg)) for chart in report.night_charts],  # noqa: S704 - matplotlib's own
        slides=[
            _SlideSection(
                slide.slide,
                slide.sample,
                words.about_slide(slide),
                words.kinds(slide.kinds, excluded=bool(slide.excluded_fields)),
                words.kinds(slide.taxa, "taxon", excluded=bool(slide.excluded_fields)),
                [(chart.about, Markup(chart.svg)) for chart in charts[slide.slide]],  # noqa: S704
            )
            for slide in numbers.slides
            if slide.slide in charts
        ],
        masses=report.masses,
        methods="\n\n".join(report.methods),
        fields=[_field_picture(one) for one in report.fields],
        finest=[(name, _pictures(shown)) for name, shown in report.finest],
        doubtful=_pictures(report.doubtful),
        rules=RULES,
        colours=palette.page_colours() | {"running": palette.TONES["running"]},
        events=words.events(numbers),
        skipped=words.skipped(numbers),
        skipped_heading=words.SKIPPED,
        excluded=words.excluded(numbers),
        excluded_heading=words.EXCLUDED,
        flags=words.flags(numbers),
        unread=numbers.unread,
        timing=timing,
        spans=[] if report.timing is None else report.timing.spans,
        total_s=0.0 if report.timing is None else report.timing.seconds,
        needed=needed,
        calibrations=words.calibrations(report),
        sources=report.sources,
    )


def _field_picture(one: FieldPicture) -> _PagePicture:
    title, why, known = words.field_caption(one)
    return _PagePicture(_inside(one.picture), one.without, title, why, known)


def _inside(picture: bytes) -> str:
    """Write a JPEG as an address that needs no file; empty where there is none."""
    return "data:image/jpeg;base64," + base64.b64encode(picture).decode() if picture else ""


def _pictures(shown: Sequence[ObjectShown]) -> list[_PagePicture]:
    return [_PagePicture(_inside(one.picture), one.without, *words.caption(one)) for one in shown]
