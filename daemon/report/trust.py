"""How far masses may be trusted: which calibrations they lack, what that means for them, and how to make them."""

from __future__ import annotations

from collections.abc import Sequence

from daemon.report.numbers import NightNumbers
from daemon.report.sources import Sources
from inference.wording import listed

MEANS = {
    "dark": "the camera's offset is taken to be 0 and no pixel to be bad, which falsifies thin objects most",
    "flat": "the field is taken to be evenly lit, so an object in a dark corner counts as another one in the middle",
    "camera": "an electron is taken to give 1 DN, so the \u00b1 of masses and the flag of saturated light are guesses",
    "polarization": "the polarizers are taken to be perfect and both states to lie exactly on each other, so all "
    "masses may be too high or too low by the same share",
    "pixel-size": "the size of a pixel is what the configuration says; where it is 1 % too large, lengths are 1 % too "
    "large and masses 2 %",
}
"""What it means for masses where a routine has no record."""
EXPIRED = "what it found may have changed since"


def masses_are_shown(numbers: NightNumbers) -> bool:
    """Whether a report tells any mass."""
    every = (*numbers.kinds, *numbers.taxa, *(kind for slide in numbers.slides for kind in slide.kinds))
    return any(kind.mass_pg is not None for kind in every)


def about_masses(numbers: NightNumbers, sources: Sources) -> tuple[str, ...]:
    """Say what masses lack, a sentence each and what to do last; nothing where they lack nothing, or none is shown."""
    expired = [one for one in sources.calibrations if one.expired]
    if not masses_are_shown(numbers) or not (sources.assumed or expired):
        return ()
    told = []
    if sources.assumed:
        told.append(f"No calibration of {listed(sources.assumed)} was used: masses rest on assumed values there.")
        told += [_means(routine, MEANS[routine]) for routine in sources.assumed if routine in MEANS]
    told += [
        _means(one.routine, f"its record of {one.taken} counted until {one.valid_until} only; {EXPIRED}")
        for one in expired
    ]
    return (*told, _remedy([*sources.assumed, *(one.routine for one in expired)]))


def _means(routine: str, what: str) -> str:
    return f"{routine}: {what}."


def _remedy(routines: Sequence[str]) -> str:
    """Say which commands make what is missing, and then the masses anew."""
    first, *others = dict.fromkeys(routines)
    likewise = f", and likewise {listed(others)}" if others else ""
    return (
        f"`lamelle calibrate {first} CONFIG` makes one{likewise}; then `lamelle measure DIR --calibrations FOLDER` "
        "measures this night anew."
    )
