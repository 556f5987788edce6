"""Whether the virtual slide holds what it is meant to: `python -m benchmarks.population [--fields N] [--seed S]`.

Tables of measured against intended: numbers a field, sizes, masses, junk, the year of a night. Measured are true
objects, nothing is rendered; about two minutes, and the making of the specimens the first time.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import chi2

from daemon.planning.specimens import make_specimens
from drivers.profile_names import Profile
from drivers.settings import Emulation, MiniSlide, Range
from drivers.virtual_slide.profiles import PROFILES, abundance, kinds_of, mean_number
from drivers.virtual_slide.slide import VirtualSlide, cabinet_of
from drivers.virtual_slide.specimens.collection import KINDS
from drivers.virtual_slide.truth import TrueObject

PIXEL_UM = 0.059
FRAME_PX = 2048
FRAME_UM = FRAME_PX * PIXEL_UM
PER_ROW = 14
"""Fields side by side, which share the cells of the population that are worked out."""
CENTRE_UM = (15000.0, 20000.0)
SHAPE_FACTORS = {"emiliania": 0.02, "gephyrocapsa": 0.05, "coccolithus": 0.06}
"""ks of m = 2.71 ks L^3 (Young and Ziveri 2000, Deep-Sea Research II 47, 1679; bridge and size of today's species)."""
CONSOLE = Console(width=150)


class Fields:
    """True objects of a block of fields of one mini-slide."""

    def __init__(self, emulation: Emulation, slide: int, fields: int) -> None:
        make_specimens(cabinet_of(emulation), kinds_of(emulation.profile), CONSOLE)
        window = Range(low=-60, high=60)
        mini = MiniSlide(position=slide, centre_um=CENTRE_UM, size_um=(20000, 20000), z_um=0, z_window_um=window)
        virtual = VirtualSlide(emulation, [mini], (FRAME_PX, FRAME_PX), PIXEL_UM)
        self.emulation, self.slide = emulation, slide
        self.seen: list[tuple[TrueObject, ...]] = []
        self.centred: list[list[TrueObject]] = []
        for number in range(fields):
            row, column = divmod(number, PER_ROW)
            x, y = (c + (n - PER_ROW / 2) * FRAME_UM for c, n in zip(CENTRE_UM, (column, row), strict=True))
            objects = virtual.truth(slide, x, y)
            half = FRAME_UM / 2
            self.seen.append(objects)
            self.centred.append([o for o in objects if abs(o.x_um - x) < half and abs(o.y_um - y) < half])

    def counts(self, kind: str) -> NDArray[np.int64]:
        """Settlers of a kind in each field; what came with another (chains, burial) is not counted."""
        return np.array([sum(o.kind == kind and "." not in o.identifier for o in field) for field in self.centred])

    def intended(self, kind: str) -> float:
        """Mean number of settlers of a kind in a field."""
        e = self.emulation
        return mean_number(e.profile, kind, e.seed, self.slide, e.density, FRAME_UM**2)


def show_numbers(fields: Fields) -> None:
    """Numbers a field and their dispersion."""
    e, n = fields.emulation, len(fields.centred)
    low, high = (float(chi2.ppf(share, n - 1)) / (n - 1) for share in (0.025, 0.975))
    table = _table(
        f"{e.profile}, {e.settling}: settlers a field of {FRAME_UM:.0f} um, {n} fields of slide {fields.slide}; "
        f"index of dispersion of a Poisson process {low:.2f} to {high:.2f} (95 %)",
        ("kind", "intended", "measured", "ratio", "error", "dispersion", "", "with chains and buried"),
    )
    outside = 0
    total = np.zeros(n)
    for kind in kinds_of(e.profile):
        counts, mean = fields.counts(kind), fields.intended(kind)
        total += counts
        every = np.mean([sum(o.kind == kind for o in field) for field in fields.centred])
        if not counts.any():
            table.add_row(kind, f"{mean:.3f}", "0", "", "", "", "", f"{every:.3f}")
            continue
        dispersion = float(counts.var(ddof=1) / counts.mean())
        beyond = not low <= dispersion <= high
        outside += beyond
        error = np.sqrt(mean / n) / mean
        table.add_row(
            kind, f"{mean:.3f}", f"{counts.mean():.3f}", f"{counts.mean() / mean:.3f}", f"+-{error:.3f}",
            f"{dispersion:.2f}", "not Poisson" if beyond else "", f"{every:.3f}",
        )  # fmt: skip
    CONSOLE.print(table)
    verdict = f"{outside} of {len(kinds_of(e.profile))} kinds outside the interval (5 % are expected there)"
    CONSOLE.print(f"{verdict}; all settlers together {total.var(ddof=1) / total.mean():.2f}\n", highlight=False)


def show_sizes(fields: Fields) -> None:
    """Lengths of whole, unbroken objects, weighted for the edge of the frame, against the sizes of the kind."""
    table = _table(
        f"{fields.emulation.profile}: length in um (Feret) of objects wholly in the frame, not broken, weighted "
        "W H / ((W - w) (H - h)); measured (intended) quantiles",
        ("kind", "objects", "5 %", "25 %", "50 %", "75 %", "95 %", "distance", "of which", "settled", "chance"),
    )
    for kind in kinds_of(fields.emulation.profile):
        whole = [o for field in fields.seen for o in field if o.kind == kind and o.whole and not o.fragment]
        if len(whole) < 20:
            continue
        boxes = np.array([o.box for o in whole])
        sides = boxes[:, 2:] - boxes[:, :2]
        weights = np.prod(FRAME_PX / (FRAME_PX - sides), axis=1)
        lengths = np.array([o.length_um for o in whole])
        order = np.argsort(lengths)
        sizes = KINDS[kind].sizes
        quantiles = [
            f"{np.interp(share, np.cumsum(weights[order]) / weights.sum(), lengths[order]):.1f} "
            f"({sizes.quantile(share):.1f})"
            for share in (0.05, 0.25, 0.5, 0.75, 0.95)
        ]
        collected = {o.variant: o.length_um for o in whole}
        own = np.array(list(collected.values()))
        every = np.unique(lengths)
        intended = np.array([sizes.share_below(length) for length in every.tolist()])
        measured, even = _below(lengths, weights, every), _below(own, np.ones(len(own)), every)
        table.add_row(
            kind, str(len(whole)), *quantiles, f"{_distance(measured, intended):.3f}",
            f"{_distance(even, intended):.3f}", f"{np.abs(measured - even).max():.3f}",
            f"{1.36 * np.sqrt((weights**2).sum()) / weights.sum():.3f}",
        )  # fmt: skip
    CONSOLE.print(table)
    CONSOLE.print(
        "Kolmogorov distances: of the measured lengths from the intended; of which that of the collection itself,\n"
        "which has few unbroken individuals of a kind; of the measured from the collection's, and what chance allows "
        "(95 %).\n"
    )


def _below(lengths: NDArray[np.float64], weights: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the weight of what is at most so long."""
    shares: NDArray[np.float64] = np.asarray([weights[lengths <= length].sum() for length in at]) / weights.sum()
    return shares


def _distance(steps: NDArray[np.float64], smooth: NDArray[np.float64]) -> float:
    """Greatest distance of a stair of shares from a smooth distribution, before and after each step."""
    before = np.concatenate([[0.0], steps[:-1]])
    return float(max(np.abs(steps - smooth).max(), np.abs(before - smooth).max()))


def show_masses(fields: Fields) -> None:
    """Masses of calcite and what bidirectional circular polarization sees of them."""
    table = _table(
        f"{fields.emulation.profile}: mass of calcite, pg; ks L^3 from the true lengths",
        ("kind", "objects", "mean", "sd", "2.71 ks L^3", "ratio", "seen", "mean thickness um"),
    )
    for kind in kinds_of(fields.emulation.profile):
        found = [o for field in fields.centred for o in field if o.kind == kind and not o.fragment and o.mass_pg > 0]
        if not found:
            continue
        mass = np.array([o.mass_pg for o in found])
        seen = sum(o.visible_mass_pg for o in found) / mass.sum()
        literature = ["", ""]
        if kind in SHAPE_FACTORS:
            expected = float(np.mean([2.71 * SHAPE_FACTORS[kind] * o.length_um**3 for o in found]))
            literature = [f"{expected:.2f}", f"{mass.mean() / expected:.2f}"]
        thickness = np.mean([o.thickness_um for o in found])
        table.add_row(
            kind, str(len(found)), f"{mass.mean():.2f}", f"{mass.std():.2f}", *literature, f"{seen:.0%}",
            f"{thickness:.2f}",
        )  # fmt: skip
    CONSOLE.print(table)


def show_junk(fields: int, seed: int) -> None:
    """Junk and fossils of each profile."""
    table = _table(
        "junk and fossils a field of slide 1",
        (
            "profile",
            "fossils",
            "junk",
            "per fossil",
            "not buried",
            "intended",
            "buried",
            "fragments",
            "touching",
            "faintest",
        ),
    )
    for profile, often in PROFILES.items():
        if not often:
            continue
        sample = Fields(Emulation(profile=profile, seed=seed), 1, fields)
        objects = [o for field in sample.centred for o in field]
        fossils = [o for o in objects if not o.junk]
        junk = len(objects) - len(fossils)
        meant = [sum(sample.intended(k) for k in often if KINDS[k].junk == is_junk) for is_junk in (True, False)]
        shares = [np.mean([getattr(o, name) for o in fossils]) for name in ("buried", "fragment", "touching")]
        faintest = np.quantile([o.contrast_to_noise for o in fossils], 0.01)
        outside = sum(not o.buried for o in fossils)
        table.add_row(
            profile, f"{len(fossils) / fields:.2f}", f"{junk / fields:.2f}", f"{junk / len(fossils):.2f}",
            f"{junk / outside:.2f}", f"{meant[0] / meant[1]:.2f}", *(f"{share:.0%}" for share in shares),
            f"{faintest:.1f}",
        )  # fmt: skip
    CONSOLE.print(table)
    CONSOLE.print(
        "Junk per fossil, and per fossil outside aggregates; intended are settlers alone, without chains.\n"
        "Faintest: contrast to noise that 1 % of the fossils lie below.\n"
    )


def show_year(fields: int, seed: int) -> None:
    """Abundance over the slides of a night, of the classes whose members are many."""
    slides = range(1, 9)
    counts = {slide: Counter[str]() for slide in slides}
    profile: Profile = "easy"
    for slide in slides:
        for field in Fields(Emulation(profile=profile, seed=seed), slide, fields).centred:
            counts[slide].update(KINDS[o.kind].class_name for o in field if "." not in o.identifier)
    table = _table(
        f"{profile}: abundance over the eight slides of a night, measured (intended), over its mean",
        ("class", *(f"slide {slide}" for slide in slides)),
    )
    for name in ("coccolith", "diatom", "silicoflagellate", "quartz"):
        mean = np.mean([counts[slide][name] for slide in slides])
        cells = [f"{counts[slide][name] / mean:.2f} ({abundance(seed, slide, name):.2f})" for slide in slides]
        table.add_row(name, *cells)
    CONSOLE.print(table)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=98)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--slide", type=int, default=1)
    asked = parser.parse_args()
    for profile in ("easy", "coccolith", "trap"):
        emulation = Emulation(profile=profile, seed=asked.seed)
        fields = Fields(emulation, asked.slide, asked.fields)
        show_numbers(fields)
        if profile == "easy":
            show_numbers(Fields(emulation.model_copy(update={"settling": "clustered"}), asked.slide, asked.fields))
            show_sizes(fields)
            show_masses(fields)
    show_junk(asked.fields, asked.seed)
    show_year(asked.fields // 2, asked.seed)


if __name__ == "__main__":
    main()
