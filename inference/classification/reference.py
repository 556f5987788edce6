"""What a library looks like as a whole, so that objects and mini-slides unlike it can be told. No torch.

Each object is compared with the mean vector of the taxon that it is nearest to, so that which taxa are common does not
matter. It is far where it lies farther from that, in units of the spread within taxa, than 99 % of the objects of
groups (slides, days, samples) that taught nothing. That finds objects from elsewhere; it does not find every object of
an unknown taxon, most of which look like known ones (docs/names.md has the figures).

A mini-slide is told apart by what its objects have in common: the mean product of the directions in which two of them
lie from their means. Of a mini-slide as the library knows them it is small, as objects differ in all directions; a
blur, noise, another lamp or scale turn all of them one way. What counts as small is known from the groups that taught
nothing. A taxon that nobody taught is not told by that, unless most objects are of it, and not always then.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.errors import WeightsRefused

Floats = NDArray[np.float32]
SHRUNK = 0.1
"""Share by which the spread of each number of a vector is drawn to that of all, as small ones are mostly noise."""
NEAR = 0.99
"""Share of the objects of held-out groups that are not far."""
FEWEST = 30
"""Objects from which on a group or mini-slide is judged as a whole."""
GROUPS = 5
"""Held-out groups of so many objects from which on anything is said of a mini-slide."""
ODD = 0.001
"""Chance of a mini-slide as the library knows them to be told: with eight of them about one night in a hundred."""
LEAST_SCATTER = 0.25
"""In logarithms: few groups that happen to be alike must not make every further one odd."""
TINY = 1e-6
_NUMBERS = ("far", "centre", "scatter", "floor", "chance")


class JudgedTogether(NamedTuple):
    """What is said of the objects of a mini-slide together.

    Attributes
    ----------
    objects
        how many were judged.
    far
        how many of them are far from all that was learnt.
    times
        how many times as much they have in common as those of a group of the library; 0 where it is nothing.
    odd
        whether that is more than chance, and the groups' own differences, explain.
    """

    objects: int
    far: int
    times: float
    odd: bool


@dataclass(frozen=True, eq=False)
class LibraryReference:
    """Where the vectors of a library lie, and how far from it those of groups lie that taught nothing.

    Attributes
    ----------
    means
        float16 (K, F), of the vectors of each taxon.
    spread
        float16 (F,), of each number of them within taxa.
    far
        squared length above which an object is far.
    centre
        median over groups of the logarithm of what objects of a group have in common and `floor`.
    scatter
        of it, between groups, as a standard deviation.
    floor
        what is added before the logarithm, as the estimate may be 0 or less.
    chance
        standard deviation of the product of two objects' directions.
    groups
        of how many groups that is known.
    """

    means: NDArray[np.float16]
    spread: NDArray[np.float16]
    far: float
    centre: float
    scatter: float
    floor: float
    chance: float
    groups: int

    @property
    def judges(self) -> bool:
        """Whether enough groups are known to say anything of a mini-slide."""
        return self.groups >= GROUPS

    def distances(self, vectors: NDArray[np.floating]) -> Floats:
        """Give the squared distances (N,) of vectors (N, F) from the nearest mean, in units of the spread.

        NaN of vectors with values that are not numbers.

        Raises
        ------
        WeightsRefused
            The vectors are of another length than those of the library.
        """
        good = self._finite(vectors)
        squares = np.full(len(vectors), np.nan, np.float32)
        squares[good] = _squares(self._scaled(vectors[good]))
        return squares

    def times_as_far(self, vectors: NDArray[np.floating]) -> Floats:
        """Give how far (N,) vectors (N, F) are, where 1 is as far as an object may be that is not far.

        NaN of vectors with values that are not numbers.

        Raises
        ------
        WeightsRefused
            The vectors are of another length than those of the library.
        """
        return np.asarray(np.sqrt(self.distances(vectors) / np.float32(self.far)), np.float32)

    def judge(self, vectors: NDArray[np.floating]) -> JudgedTogether | None:
        """Judge the objects of a mini-slide together; None where there are too few of them, or of known groups.

        Vectors with values that are not numbers are left out (`finite`).

        Raises
        ------
        WeightsRefused
            The vectors are of another length than those of the library.
        """
        if len(vectors) < FEWEST or not self.judges:
            return None
        scaled = self._scaled(vectors[self._finite(vectors)])
        if len(scaled) < FEWEST:
            return None
        # Every process of a night imports this module, and the report alone judges.
        from scipy.special import stdtr

        common = _in_common(_directions(scaled))
        log = math.log(max(common, 0.0) + self.floor)
        by_chance = self.chance * math.sqrt(2 / (len(scaled) * (len(scaled) - 1))) / math.exp(self.centre)
        # The error of a median is that of a mean times the root of pi / 2.
        deviation = math.sqrt(self.scatter**2 * (1 + math.pi / 2 / self.groups) + by_chance**2)
        odd = float(stdtr(self.groups - 1, (self.centre - log) / deviation)) < ODD
        # What is added before the logarithm belongs to the test, and would draw the ratio towards 1.
        usual = max(math.exp(self.centre) - self.floor, _least(self.chance))
        return JudgedTogether(len(scaled), int((_squares(scaled) > self.far).sum()), max(common, 0.0) / usual, odd)

    def to_text(self) -> str:
        """Write it as it travels with features: JSON."""
        arrays = {name: base64.b64encode(getattr(self, name).tobytes()).decode() for name in ("means", "spread")}
        return json.dumps({**arrays, **{name: getattr(self, name) for name in _NUMBERS}, "groups": self.groups})

    @classmethod
    def from_text(cls, text: str) -> LibraryReference | None:
        """Read what `to_text` wrote; None of an empty text.

        Raises
        ------
        WeightsRefused
            It is damaged.
        """
        if not text:
            return None
        try:
            said = json.loads(text)
            means, spread = (np.frombuffer(base64.b64decode(said[name]), np.float16) for name in ("means", "spread"))
            means = means.reshape(-1, len(spread))
            numbers = {name: float(said[name]) for name in _NUMBERS}
            groups = int(said["groups"])
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise WeightsRefused(f"what a library looks like cannot be read ({error}); train again") from error
        whole = np.isfinite(means).all() and np.isfinite(spread).all() and all(map(math.isfinite, numbers.values()))
        positive = (spread > 0).all() and min(numbers["far"], numbers["floor"], numbers["scatter"]) > 0
        if not (whole and positive and means.size):
            raise WeightsRefused("what a library looks like holds values that are not numbers; train again")
        return cls(means, spread, groups=groups, **numbers)

    def judged_by(self, vectors: NDArray[np.floating], groups: Sequence[str]) -> LibraryReference:
        """Give the same library, with how far groups lie from it that taught nothing at all.

        Parameters
        ----------
        vectors
            (N, F), of objects that taught neither encoder nor head; those with values that are not numbers are left
            out. One at least is whole.
        groups
            day, slide or sample of each.
        """
        good = self._finite(vectors)
        return _calibrated(self.means, self.spread, self._scaled(vectors[good]), np.array(groups)[good])

    def _scaled(self, vectors: NDArray[np.floating]) -> Floats:
        return _scaled(vectors, self.means, self.spread)

    def _finite(self, vectors: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Say which vectors are whole; refuse those of another encoder."""
        if vectors.ndim != 2 or vectors.shape[1] != len(self.spread):
            raise WeightsRefused(
                f"features of shape {vectors.shape} are none of this library's encoder, whose vectors have "
                f"{len(self.spread)} numbers"
            )
        return finite(vectors)


def finite(vectors: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Say which (N,) of vectors (N, F) hold nothing but numbers: in 16 bits large ones become infinite."""
    return np.asarray(np.isfinite(vectors).all(axis=1), np.bool_)


def reference_of(
    vectors: NDArray[np.floating],
    taxa: NDArray[np.intp],
    groups: Sequence[str],
    folds: Sequence[NDArray[np.bool_]],
) -> LibraryReference:
    """Fit the reference of a library.

    Parameters
    ----------
    vectors
        (N, F), all that taught.
    taxa
        (N,), a number for the taxon of each; negative: of a taxon that is not learnt, so that it has no mean, but may
        judge, as in nature.
    groups
        day, slide or sample of each.
    folds
        which of them are held out, one fold after another: whole groups, each once.
    """
    learnt = taxa >= 0
    scaled, judging = np.zeros(vectors.shape, np.float32), np.zeros(len(vectors), np.bool_)
    for out in folds:
        others = learnt & ~out
        if others.any():  # else all that is known of taxa is in this fold
            scaled[out] = _scaled(vectors[out], *_place(vectors[others], taxa[others]))
            judging |= out
    return _calibrated(*_place(vectors[learnt], taxa[learnt]), scaled[judging], np.array(groups)[judging])


def _place(vectors: NDArray[np.floating], taxa: NDArray[np.intp]) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    wide = vectors.astype(np.float32)
    numbers, own = np.unique(taxa, return_inverse=True)
    means = np.stack([wide[own == k].mean(axis=0) for k in range(len(numbers))])
    variances = ((wide - means[own]) ** 2).mean(axis=0)
    spread = np.sqrt((1 - SHRUNK) * variances + SHRUNK * variances.mean())
    # Of vectors that are all the same every other one is as far as can be told.
    return means.astype(np.float16), spread.astype(np.float16).clip(np.float16(1e-3))


def _calibrated(
    means: NDArray[np.float16], spread: NDArray[np.float16], scaled: Floats, groups: NDArray[np.str_]
) -> LibraryReference:
    directions = _directions(scaled)
    chance = float(np.linalg.norm(directions.T @ directions / max(len(directions), 1)))
    names, counts = np.unique(groups, return_counts=True)
    common = np.array([_in_common(directions[groups == name]) for name in names[counts >= FEWEST]]).clip(0)
    least = _least(chance)
    floor = max(float(np.median(common)) / 2, least) if len(common) else least
    logs = np.log(common + floor)
    centre = float(np.median(logs)) if len(logs) else math.log(floor)
    # The median of deviations, as one odd group must not hide the next; 1.4826 of a normal one's make its deviation.
    scatter = 1.4826 * float(np.median(np.abs(logs - centre))) if len(logs) else 0.0
    return LibraryReference(
        means=means,
        spread=spread,
        far=max(float(np.quantile(_squares(scaled), NEAR)), TINY),
        centre=centre,
        scatter=max(scatter, LEAST_SCATTER),
        floor=floor,
        chance=chance,
        groups=len(logs),
    )


def _least(chance: float) -> float:
    """Give what the smallest group that is judged has in common by chance."""
    return max(chance * math.sqrt(2) / FEWEST, TINY)


def _scaled(vectors: NDArray[np.floating], means: NDArray[np.float16], spread: NDArray[np.float16]) -> Floats:
    """How vectors (N, F) lie from the nearest of some means (K, F), in units of a spread."""
    unit = spread.astype(np.float32)
    scaled, centres = vectors.astype(np.float32) / unit, means.astype(np.float32) / unit
    # The square of the vector itself is the same for all means.
    nearest = (_squares(centres) - 2 * scaled @ centres.T).argmin(axis=1)
    return np.asarray(scaled - centres[nearest], np.float32)


def _squares(scaled: Floats) -> Floats:
    return np.asarray((scaled**2).sum(axis=1), np.float32)


def _directions(scaled: Floats) -> Floats:
    """Give vectors of length 1, so that no single object decides for all."""
    return np.asarray(scaled / np.sqrt(_squares(scaled))[:, None].clip(TINY), np.float32)


def _in_common(directions: Floats) -> float:
    """Give the mean product of two different ones of N directions."""
    count = len(directions)
    return (float((directions.sum(axis=0, dtype=np.float64) ** 2).sum()) - count) / (count * (count - 1))
