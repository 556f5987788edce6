"""A night as its page shows it: how it stands, its mini-slides, and what a map shows of each of their fields."""

from __future__ import annotations

from typing import Any

from daemon.dataset.summary import JudgedSummary
from daemon.report import words
from daemon.report.numbers import FieldNumbers
from daemon.view.nights import NightSeen, ShownNight


def tell_in_short(one: ShownNight) -> dict[str, Any]:
    """Tell how a night stands, as far as it is known."""
    seen = one.seen
    answer: dict[str, Any] = {
        "key": one.key, "night": one.night, "trouble": one.trouble, "read": False, "reading": one.reading,
    }  # fmt: skip
    if seen is None:
        return answer
    verdict = {"headline": seen.verdict.headline, "tone": seen.verdict.tone, "needs": seen.verdict.needs}
    samples = [[slide.slide, slide.sample] for slide in seen.slides]
    more = {} if seen.said is None else {"heading": seen.said.heading, "facts": seen.said.facts}
    return answer | {"read": seen.checked, "verdict": verdict, "samples": samples, "utc": seen.started.utc} | more


def tell_night(one: ShownNight) -> dict[str, Any]:
    """Tell everything of a night but its objects."""
    answer = tell_in_short(one) | {"folder": str(one.folder)}
    if one.seen is not None:
        answer |= {"slides": _slides(one.seen), "said": one.seen.said, "frame_um": one.seen.frame_um}
    return answer | {"report": one.report(".html") is not None, "paper": one.report(".pdf") is not None}


def _slides(seen: NightSeen) -> list[dict[str, Any]]:
    return [
        {
            "slide": one.slide, "sample": one.sample, "about": one.about, "planned": one.planned, "closed": one.closed,
            "kinds": one.kinds, "taxa": one.taxa,
            "fields": [_mark(field, seen.judged.get((one.slide, field.field))) for field in one.fields],
        }
        for one in seen.slides
    ]  # fmt: skip


def _mark(field: FieldNumbers, judged: JudgedSummary | None) -> list[object]:
    """Give what a map shows of a field; last comes what was decided of it, None where nothing is to be said."""
    place = [_known(field.x_um), _known(field.y_um)]
    told_of: list[object] = [field.field, field.state, *place, field.objects, field.focus_z_um]
    if judged is None:
        return [*told_of, None]
    signs = {"counted": judged.counted, "flagged": bool(judged.flags), "person": judged.utc is not None}
    return [*told_of, signs | {"says": words.judged(judged)}]


def _known(value: float) -> float | None:
    return None if value != value else round(value, 2)
