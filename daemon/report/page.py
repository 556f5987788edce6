"""A report as one HTML file that needs nothing else: pictures inside, no script, light or dark as the reader likes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from daemon.figures.html import write_html
from daemon.report import words as words
from daemon.report.objects import ObjectShown
from daemon.report.words import NightReport, Table

RULES = {
    "finest": "Whole, sure, in focus and undisturbed; the sharpest first, in turn from each mini-slide and class; "
    "where there are none, whole ones.",
    "doubtful": "Most flags, lowest scores, least certain masses first, in turn from each mini-slide.",
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
        galleries=[
            ("The finest", RULES["finest"], _pictures(report.finest)),
            ("The most doubtful", RULES["doubtful"], _pictures(report.doubtful)),
        ],
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


def _pictures(shown: Sequence[ObjectShown]) -> list[_PagePicture]:
    return [
        _PagePicture(
            "data:image/jpeg;base64," + base64.b64encode(one.picture).decode() if one.picture else "",
            one.without,
            *words.caption(one),
        )
        for one in shown
    ]
