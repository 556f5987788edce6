"""Specimens of the virtual slide, as `lamelle emulate specimens` writes them, with the truth for a label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from daemon.dataset.objects_table import read_parquet
from daemon.library.entry import Entry
from daemon.library.pixels import look_of, sha256_of_pixels
from daemon.library.sources.pictures import SourceRead
from daemon.records.names import UNFINISHED
from daemon.system.errors import DamagedFile, Refused
from drivers.errors import ImageRefused
from drivers.recorded.images import opened_one
from drivers.virtual_slide.not_living import taxon_of

INDEX = "index.parquet"
_STACK = "stacks/slide-*/*/[0-9][0-9][0-9][0-9][0-9][0-9].ome.tif"
_NEEDED = {"key", "file", "taxon", "class_name", "night", "collection", "slide", "states", "focus_plane"}


def is_emulated(folder: Path) -> bool:
    """Whether a folder holds specimens of the virtual slide, whole.

    Raises
    ------
    DamagedFile
        It has an index that cannot be read: its stacks are not taken for pictures, whose samples nobody says.
    Refused
        They are not finished, or have no index any more.
    """
    path = folder / INDEX
    if (folder / UNFINISHED).is_file():
        raise Refused(
            f"{folder} holds specimens of the virtual slide that are not finished; give the same `lamelle emulate "
            "specimens` again, which goes on with them"
        )
    try:
        if path.is_file() and set(pq.read_schema(path).names) >= _NEEDED:
            return True
    except (pa.ArrowException, OSError) as error:
        raise DamagedFile(f"{path} cannot be read ({error}); write the specimens again, or move it away") from error
    if any(folder.glob(_STACK)):
        raise Refused(
            f"{folder} holds stacks as `lamelle emulate specimens` writes them, but no {INDEX} that says what they "
            "are; put it back, or write them again. If they are pictures of your own, give stacks/ another name"
        )
    return False


class EmulatedSpecimens:
    """Specimens of the virtual slide, as a source of a library.

    The collection, which says what individuals there are, is the sample: nothing may learn and be judged on the same.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.root = root.resolve()
        self.read = SourceRead(name or self.root.name)
        try:
            self._rows: list[dict[str, Any]] = read_parquet(self.root / INDEX).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise DamagedFile(f"{self.root / INDEX} cannot be read ({error}); write the specimens again") from error
        self.read.total = len(self._rows)

    def entries(self, before: dict[str, Entry]) -> Iterator[Entry | None]:
        """Give the entry of each specimen, None where it cannot be read; what did not change is not read again."""
        kept = set()
        for row in self._rows:
            entry = self._entry(row, before.get(row["key"]))
            if entry is not None:
                kept.add(entry.key)
            yield entry
        self.read.dropped = sorted(before.keys() - kept)

    def _entry(self, row: Mapping[str, Any], before: Entry | None) -> Entry | None:
        label = taxon_of(row["taxon"], row["class_name"])
        self.read.classes.add(label)
        path = self.root.joinpath(*row["file"].split("/"))
        try:
            stat = path.stat()
            if before is not None and (before.size, before.modified_ns, before.label) == (
                stat.st_size, stat.st_mtime_ns, label,
            ):  # fmt: skip
                return before
            with opened_one(path) as stack:
                pixels = stack.read()
        except (ImageRefused, OSError) as error:
            self.read.left_out[row["file"]] = str(error)
            return None
        return Entry(
            key=row["key"],
            origin="emulated",
            source=self.read.name,
            root=self.root.as_posix(),
            name=row["file"],
            size=stat.st_size,
            modified_ns=stat.st_mtime_ns,
            sample=f"collection {row['collection']}",
            slide=f"{row['night']}/slide-{row['slide']}",
            label=label,
            taxon="",
            sha256=sha256_of_pixels(pixels),
            look=look_of(pixels, row["focus_plane"]),
            shape_czyx=(pixels.shape[0], pixels.shape[1], pixels.shape[2], pixels.shape[3]),
            states=tuple(row["states"].split()),
            channels=tuple(range(pixels.shape[0])),
            low_dn=int(pixels.min()),
            high_dn=int(pixels.max()),
            bits=int(row["white_dn"]).bit_length(),
            pixel_um=row["pixel_um"],
            step_um=row["step_um"],
            focus_plane=row["focus_plane"],
            length_um=row["length_um"],
            width_um=row["width_um"],
        )
