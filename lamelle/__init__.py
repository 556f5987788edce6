"""The public face of lamelle: recorded nights as tables and arrays, and the detector on an array; docs/python.md."""

from importlib.metadata import version

from daemon.dataset.field_file import Pixels
from daemon.system.errors import LamelleError
from lamelle.detector import Detector, FoundOnArray
from lamelle.nights import Nights, ObjectPixels
from lamelle.nights import open_nights as open  # noqa: A004 - `lamelle.open`, as `tifffile` and `zarr` have theirs

__version__ = version("lamelle")

__all__ = ["Detector", "FoundOnArray", "LamelleError", "Nights", "ObjectPixels", "Pixels", "open"]
