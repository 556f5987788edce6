"""The tables of later measurements that lie beside those of the night."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pyarrow.parquet as pq

METADATA = b"lamelle.measured"


_NAME = re.compile(r"measured-(\d{3,})\.parquet", re.ASCII)


class MeasuredWith(msgspec.Struct, frozen=True, kw_only=True):
    """When and with what a table was measured: UTC seconds, versions, formulas, names of calibration records."""

    number: int
    utc: float
    versions: dict[str, str]
    formulas: dict[str, str]
    calibrations: tuple[str, ...]


def measured_tables(folder: Path) -> dict[int, list[Path]]:
    """Find the tables of measurements in a dataset, by their number, in the order of their slides."""
    tables: dict[int, list[Path]] = {}
    for path in sorted(folder.glob("slide-*/measured-*.parquet"), key=lambda path: int(path.parent.name[6:])):
        if match := _NAME.fullmatch(path.name):
            tables.setdefault(int(match[1]), []).append(path)
    return dict(sorted(tables.items()))


def measured_with(path: Path) -> MeasuredWith:
    """Read when and with what a table was measured."""
    return msgspec.json.decode(pq.read_schema(path).metadata[METADATA], type=MeasuredWith)
