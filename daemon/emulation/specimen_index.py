"""The index of single emulated specimens: a line for each stack, with what is true of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_type_hints

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from daemon.system.durable_files import replacing

INDEX = "index"
"""Name, without ending, of the table of what was written: Parquet, and CSV."""


@dataclass(frozen=True)
class SpecimenRow:
    """One line of the index: a stack, and what is true of the specimen in it.

    Attributes
    ----------
    key
        the object's key, NIGHT/slide-S/field-FFFF/attempt-1/001; the night's name tells settings of the emulation
        apart, each specimen has a field of its own.
    file
        its stack, CZYX, below the folder.
    sha256
        of the file.
    taxon
        identifier in the taxonomy, of junk too.
    class_name
        the detector's class, or the kind of junk.
    collection
        which individuals the night shows: never learn and judge on the same.
    variant
        which individual of its kind.
    place
        where it settled; the same where nothing but the collection, or how specimens lie, differs.
    focus_plane
        plane in which it is shown best, fractional, from 0.
    states
        the stack's polarizations along C, with a blank between.
    white_dn
        largest value that the camera can give.
    x0
        left of the box around its outline in the stack, px; so are the others.
    """

    key: str
    file: str
    sha256: str
    taxon: str
    class_name: str
    junk: bool
    night: str
    collection: int
    seed: int
    slide: int
    kind: str
    variant: int
    place: str
    view: str
    face: str
    completeness: str
    units: int
    length_um: float
    width_um: float
    area_um2: float
    perimeter_um: float
    convex_area_um2: float
    mass_pg: float
    focus_plane: float
    reference_plane: float
    states: str
    planes: int
    step_um: float
    pixel_um: float
    white_dn: int
    touching: bool
    contrast_to_noise: float
    x0: float
    y0: float
    x1: float
    y1: float


_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def write_index(into: Path, rows: Sequence[SpecimenRow], settings: str) -> None:
    """Write the index of a folder of specimens.

    Parameters
    ----------
    settings
        of the emulation, JSON; kept with the Parquet table.
    """
    hints = get_type_hints(SpecimenRow)
    schema = pa.schema([(f.name, _TYPES[hints[f.name]]) for f in fields(SpecimenRow)], metadata={"emulation": settings})
    table = pa.Table.from_pylist([vars(row) for row in rows], schema=schema)
    with replacing(into / f"{INDEX}.csv") as stream:
        pyarrow.csv.write_csv(table, stream)
    with replacing(into / f"{INDEX}.parquet") as stream:
        pq.write_table(table, stream, compression="zstd")
