"""The objects of a dataset as columns for plots, and how much each whole object stands for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from numpy.typing import NDArray

from daemon.dataset.later_tables import TableOrigins, objects_table
from daemon.dataset.reader import Dataset

Column = NDArray[Any]

DISTURBED = (
    "overlapping", "outline_clipped", "background_disturbed", "defocused", "saturated", "folded", "fault",
)  # fmt: skip
"""What speaks against a measurement that does not tell itself what it may be used for."""
_RESTS_ON = (
    *DISTURBED, "usable_for_size", "usable_for_mass", "touches_edge", "box_x0", "box_y0", "box_x1", "box_y1", "x_um",
    "field_x_um", "field_shape_czyx", "counted",
)  # fmt: skip
"""Columns that weights, use, and the size of a pixel rest on."""
FAR_PX = 20
"""So far from the middle of its frame an object tells the size of a pixel."""


@dataclass(frozen=True, eq=False)
class Objects:
    """Objects that count, or would if their field did (`ObjectRow.counted`).

    Attributes
    ----------
    columns
        by the name they have in the catalog; numbers are float64 with NaN for what is missing.
    weights
        of whole objects, how many of their size lie there for each that was seen whole; 0 for cut ones.
    origins
        where their measurements and names come from.
    """

    columns: dict[str, Column]
    weights: NDArray[np.float64]
    origins: TableOrigins

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.weights)

    def of(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Objects:
        """Pick some."""
        return Objects({name: c[chosen] for name, c in self.columns.items()}, self.weights[chosen], self.origins)

    def usable(self, use: Literal["size", "mass"]) -> NDArray[np.bool_]:
        """Which are whole, and measured so that their size, or their mass, may be used.

        What was measured before that was told must have no flag.
        """
        flagged = np.logical_or.reduce([np.array([bool(flag) for flag in self[name]], np.bool_) for name in DISTURBED])
        told = self[f"usable_for_{use}"]
        usable = [not bad if one is None else bool(one) for one, bad in zip(told, flagged, strict=True)]
        return np.asarray((self.weights > 0) & np.array(usable, np.bool_))

    @property
    def pixel_um(self) -> float | None:
        """Pixel on the sample, as stage positions and boxes tell it; None where all lie in the middle of a frame."""
        off = (self["box_x0"] + self["box_x1"]) / 2 - _frames(self.columns)[:, 0] / 2
        far = np.abs(off) > FAR_PX
        return float(np.median((self["x_um"] - self["field_x_um"])[far] / off[far])) if far.any() else None

    def names(self, column: str) -> list[str]:
        """List what occurs in a column of texts, the most frequent first."""
        found, counts = np.unique(self[column], return_counts=True)
        return [str(name) for name in found[np.lexsort((found, -counts))]]


def load_objects(dataset: Dataset, measured: int | None = None, columns: Collection[str] | None = None) -> Objects:
    """Load the objects of a dataset that count.

    Parameters
    ----------
    measured
        as for `objects_table`.
    columns
        that are wanted, beside those that this class rests on; all of them if left out.

    Raises
    ------
    Refused
        There is no such table.
    DamagedFile
        It cannot be read.
    """
    own = load_own_objects(dataset, measured, columns=columns)
    return own.of(own["counted"].astype(np.bool_))


def load_own_objects(
    dataset: Dataset, measured: int | None = None, beside: Path | None = None, columns: Collection[str] | None = None
) -> Objects:
    """Load the objects that count, and those that would if their field did; the column `counted` says which do.

    Parameters
    ----------
    measured
        as for `objects_table`, like `beside`, and what is raised.
    columns
        as for `load_objects`.
    """
    wanted = None if columns is None else {*columns, *_RESTS_ON}
    table, origins = objects_table(dataset, measured, beside=beside, columns=wanted)
    own = table.filter(pc.and_not(table["in_exclusive_tile"], table["below_threshold"]))
    loaded = {name: _column(own[name]) for name in own.column_names}
    return Objects(loaded, _weights(loaded, _overlap(dataset)), origins)


def weighted_median(values: Column, weights: NDArray[np.float64]) -> float:
    """Give the value below which half of the weight lies; there must be one."""
    order = np.argsort(values)
    cumulated = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulated, cumulated[-1] / 2)])


def _column(column: pa.ChunkedArray) -> Column:
    if pa.types.is_floating(column.type):
        return np.array(column.cast(pa.float64()).to_pylist(), np.float64)
    if pa.types.is_nested(column.type):
        return np.array([*column.to_pylist(), None], object)[:-1]  # of lists of one length alone it would make a matrix
    return np.array(column.to_pylist())


def _overlap(dataset: Dataset) -> float:
    """Share by which neighbouring fields overlap; an archive's do not."""
    night = dataset.night()
    configuration = yaml.safe_load(night.configuration) if night else None
    scan = configuration.get("scan", {}) if isinstance(configuration, dict) else {}
    return float(scan.get("pattern", {}).get("overlap", 0.0))


def _frames(columns: dict[str, Column]) -> NDArray[np.float64]:
    """Width and height in px of the frame of each object, (N, 2)."""
    return np.array([(x, y) for _, _, y, x in columns["field_shape_czyx"]], float).reshape(-1, 2)


def _weights(columns: dict[str, Column], overlap: float) -> NDArray[np.float64]:
    """Give whole objects the weight W H / ((W - w)(H - h)), as the larger they are the more of them are cut.

    W and H are those of a field's own tile: an object whose centre lies there may reach beyond it into the overlap.
    """
    frame = _frames(columns)
    size = np.stack([columns[f"box_{b}"] - columns[f"box_{a}"] for a, b in (("x0", "x1"), ("y0", "y1"))], axis=1)
    tile = frame * (1 - overlap)
    whole = np.maximum(np.minimum(tile, frame - size), 1.0)
    return np.where(columns["touches_edge"], 0.0, (tile / whole).prod(axis=1))
