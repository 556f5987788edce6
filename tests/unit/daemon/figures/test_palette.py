"""One set of colours, which everybody can tell apart, in Python and in the pages that browsers load."""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab

from daemon.figures import palette
from daemon.figures.palette import GROUND, LEAST_CONTRAST, LEAST_DIFFERENCE, PANEL, SERIES, OnGrounds, page_colours

HOUSE = Path(str(files("daemon")))
SIGHT: dict[str, list[list[float]]] = {
    "full": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no long cones": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no medium cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no short cones": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
"""Matrices on linear sRGB, at full severity: Machado, Oliveira and Fernandes 2009, IEEE TVCG 15, 1291, table 1."""
Colours = NDArray[np.float64]


def linear(colours: list[str]) -> Colours:
    """Linear sRGB, (N, 3)."""
    coded = np.array([[int(one[at : at + 2], 16) / 255 for at in (1, 3, 5)] for one in colours])
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


def seen(colours: list[str], sight: str) -> Colours:
    """CIELAB of what an eye sees, (N, 3)."""
    light = (linear(colours) @ np.array(SIGHT[sight]).T).clip(0, 1)
    coded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(rgb2lab(coded), np.float64)


def contrast(one: str, other: str) -> float:
    """Contrast as WCAG has it."""
    low, high = sorted(float(linear([colour])[0] @ (0.2126, 0.7152, 0.0722)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def of_ground(ground: str) -> list[str]:
    return [str(getattr(one, ground)) for one in SERIES]


@pytest.mark.parametrize("ground", ["light", "dark"])
@pytest.mark.parametrize("sight", SIGHT)
def test_eight_mini_slides_are_told_apart_by_every_eye(sight: str, ground: str) -> None:
    lab = seen(of_ground(ground), sight)
    nearest = min(float(deltaE_ciede2000(a, b)) for a, b in combinations(lab, 2))
    assert len(lab) == 8
    assert nearest >= LEAST_DIFFERENCE


def test_colours_stand_out_from_their_grounds() -> None:
    told = [*SERIES, palette.TEXT, palette.DIM, palette.ACCENT, *palette.TONES.values()]
    for one in told:
        for ground in (GROUND, PANEL):
            assert contrast(one.light, ground.light) >= LEAST_CONTRAST
            assert contrast(one.dark, ground.dark) >= LEAST_CONTRAST


def test_points_have_marks_of_their_own() -> None:
    assert len(set(palette.MARKS)) == len(SERIES)


def properties(style: str, theme: str) -> dict[str, str]:
    """Properties that a style sheet gives a theme, of all its rules."""
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL))
    own = [body for head, body in rules if head.strip().split(",")[0] == theme]
    return dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})\b", " ".join(own)))


def test_pages_that_browsers_load_have_the_same_colours() -> None:
    style = (HOUSE / "web" / "page" / "base.css").read_text(encoding="utf-8")
    grounds = {"light": ':root[data-theme="light"]', "dark": ":root"}
    for ground, theme in grounds.items():
        there = properties(style, theme)
        expected = {name: str(getattr(colour, ground)) for name, colour in page_colours().items()}
        assert {name: there.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    "file",
    [
        *sorted((HOUSE / "report").glob("*.py")),
        *(HOUSE / "figures" / name for name in ("contact_sheet.py", "plots.py", "thickness.py")),
        HOUSE / "figures" / "templates" / "report.html.j2",
    ],
    ids=lambda path: path.name,
)
def test_what_draws_has_no_colours_of_its_own(file: Path) -> None:
    neutral = {"#000000", "#ffffff", "#f6f7f8"}
    assert set(re.findall(r"#[0-9a-f]{6}\b", file.read_text(encoding="utf-8"))) <= neutral


def test_a_colour_is_given_as_numbers_for_pictures() -> None:
    assert OnGrounds("#0a0b0c", "#ff8000").rgb_dark == (255, 128, 0)
    assert palette.series(9) == SERIES[1]
