"""Writes NDTiff datasets with the library that pycro-manager itself writes them with."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ndstorage import NDTiffDataset
from numpy.typing import NDArray

Place = tuple[tuple[str, int | str], ...]
"""Where a plane is, along each axis."""


def write_ndtiff(
    folder: Path, planes: Mapping[Place, NDArray[Any]], said: Mapping[Place, Mapping[str, Any]] | None = None
) -> Path:
    """Write a dataset, a plane at each place, in this order; returns its folder.

    Parameters
    ----------
    said
        of each plane.
    """
    with warnings.catch_warnings():
        # The library leaves its files to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        summary = {"PixelSize_um": 0.059}
        dataset = NDTiffDataset(str(folder), name="night", summary_metadata=summary, writable=True)
        for at, plane in planes.items():
            dataset.put_image(dict(at), plane, dict((said or {}).get(at, {})))
        dataset.finish()
        dataset.close()
        del dataset
        gc.collect(1)
    return next(path for path in folder.iterdir() if path.is_dir())
