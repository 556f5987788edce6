"""One OME-TIFF a field: every object's stack is a series, axes CZYX; docs/dataset.md describes it.

Series 0 to n-1 are the objects' stacks. Series n to 2n-1 are their fused crops, axes CYX, in the same order: stored,
not recomputed, since they cost a tenth of the stacks and show in any viewer what the detector saw. A field without
objects holds one black pixel. Provenance and objects' table are JSON in a CommentAnnotation of series 0.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self
from xml.etree import ElementTree

import msgspec
import numpy as np
import tifffile
from numpy.typing import NDArray

from daemon.records.names import features_file, field_file, picture_file
from daemon.records.records import MEASURED, NAMED, FocusResult, ObjectRow, SourceFile
from daemon.system.errors import DamagedFile

Pixels = NDArray[np.uint16]
NAMESPACE = "lamelle/field/1"
EMPTY_NAME = "no objects"
# What tifffile and its codecs raise on bytes that were damaged.
_BIGTIFF_FROM_BYTES = 3_900_000_000
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class FieldProvenance(msgspec.Struct, frozen=True, kw_only=True):
    """Where a field's pixels come from.

    `x_um`, `y_um` is the stage position of the frame's centre, `first_z_um` that of the first plane. `polarizations`
    and `exposures_ms` run along C; the latter are as the instrument read them back, where it does. `shape_czyx` is the
    stack the objects were cut from. `tile_um` is the field's exclusive tile in stage coordinates (None: all of the
    frame), `sources` the files that the stack was read from (none: a camera). `attempt` says which attempt at the field
    this is, `bits` how many the camera has (None: not known).
    """

    night: str
    slide: int
    field: int
    sample: str
    x_um: float
    y_um: float
    first_z_um: float
    step_um: float
    pixel_um: float
    polarizations: tuple[str, ...]
    exposures_ms: tuple[float, ...]
    shape_czyx: tuple[int, int, int, int]
    exposed_utc: float
    focus: FocusResult | None
    instrument: str
    configuration_sha256: str
    weights_sha256: str
    versions: dict[str, str]
    calibrations: tuple[str, ...] = ()
    sample_columns: dict[str, str] = {}
    tile_um: tuple[float, float, float, float] | None = None
    sources: tuple[SourceFile, ...] = ()
    attempt: int = 1
    bits: int | None = None

    @property
    def title(self) -> str:
        """Which field this is, for people."""
        return f"slide {self.slide} field {self.field}"

    def file_name(self, part: str = "") -> str:
        """Name of the field's file in a dataset (posix), or of another `part`, such as "raw"."""
        return field_file(self.slide, self.field, part, self.attempt)

    @property
    def features_file(self) -> str:
        """Name of the table of its objects' features in a dataset (posix)."""
        return features_file(self.slide, self.field, self.attempt)

    @property
    def picture_file(self) -> str:
        """Name of the picture that is kept of it in a dataset (posix)."""
        return picture_file(self.slide, self.field, self.attempt)


class _StructuredAnnotation(msgspec.Struct, frozen=True, kw_only=True):
    provenance: FieldProvenance
    objects: tuple[ObjectRow, ...]

    def to_json(self) -> str:
        """ASCII, so that nothing XML forbids is in it. JSON has no NaN: null stands for it."""
        return json.dumps(msgspec.json.decode(msgspec.json.encode(self)))

    @classmethod
    def from_json(cls, text: str) -> _StructuredAnnotation:
        loose = msgspec.json.decode(text, type=_LooseAnnotation)
        focus = loose.provenance.get("focus")
        if isinstance(focus, dict) and focus.get("contrast") is None:
            focus["contrast"] = math.nan
        objects = [
            {key: math.nan if value is None and key not in MEASURED + NAMED else value for key, value in row.items()}
            for row in loose.objects
        ]
        return msgspec.convert({"provenance": loose.provenance, "objects": objects}, cls)


class _LooseAnnotation(msgspec.Struct):
    provenance: dict[str, Any]
    objects: list[dict[str, Any]]


def write_field_file(
    stream: BinaryIO, provenance: FieldProvenance, objects: Sequence[tuple[ObjectRow, Pixels, Pixels]]
) -> None:
    """Encode a field.

    Parameters
    ----------
    stream
        binary, writable, seekable; may be larger than 4 GB.
    provenance
        of the field.
    objects
        for each its row, its crop (uint16 CZYX) and its fused crop (uint16 CYX), in the order of their series.

    Raises
    ------
    ValueError
        An array is not uint16, has other axes than its row and the provenance promise, or a row names another series.
    """
    for place, (row, crop, fused) in enumerate(objects):
        _check(provenance, place, row, crop, fused)
    size = sum(crop.nbytes + fused.nbytes for _, crop, fused in objects)
    rows = tuple(row for row, _, _ in objects)
    with tifffile.TiffWriter(stream, ome=True, bigtiff=size > _BIGTIFF_FROM_BYTES) as writer:
        heading = _heading(provenance, rows)
        for row, crop, _ in objects:
            _write(writer, crop, heading | _stack_metadata(provenance, _title(row), row.crop_box, crop.shape[1]))
            heading = {}
        for row, _, fused in objects:
            _write(writer, fused, _image_metadata(provenance, f"{_title(row)}, fused") | {"axes": "CYX"})
        if not objects:
            _write(writer, np.zeros((1, 1), np.uint16), heading | {"axes": "YX", "Name": EMPTY_NAME})


def write_raw_stack(stream: BinaryIO, stack: Pixels, provenance: FieldProvenance, name: str = "") -> None:
    """Encode a whole stack (uint16 CZYX) that is kept beside the objects: one series, the same annotation.

    `name` is the image's; without one it says which field this is.

    Raises
    ------
    ValueError
        The stack is not uint16 or not of `provenance.shape_czyx`.
    """
    if stack.dtype != np.uint16 or stack.shape != provenance.shape_czyx:
        raise ValueError(f"the raw stack is {stack.dtype} {stack.shape}; uint16 {provenance.shape_czyx} was announced")
    height, width = stack.shape[2:]
    name = name or provenance.title
    with tifffile.TiffWriter(stream, ome=True, bigtiff=stack.nbytes > _BIGTIFF_FROM_BYTES) as writer:
        metadata = _stack_metadata(provenance, name, (0, 0, width, height), stack.shape[1])
        _write(writer, stack, _heading(provenance, ()) | metadata)


class FieldFile:
    """A field's file, open for reading; a context manager. Pixels are read when asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _explaining_damage(f"{path} is not a TIFF file"):
            self._tiff = tifffile.TiffFile(path)
        try:
            annotation = _annotation(self._tiff, path)
        except BaseException:
            self._tiff.close()
            raise
        self.provenance = annotation.provenance
        self.objects = annotation.objects

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def crop(self, row: ObjectRow) -> Pixels:
        """Stack of an object, uint16 CZYX."""
        x0, y0, x1, y1 = row.crop_box
        channels, planes = self.provenance.shape_czyx[:2]
        return self._series(row.series, (channels, planes, y1 - y0, x1 - x0))

    def fused(self, row: ObjectRow) -> Pixels:
        """Fused crop of an object, uint16 CYX."""
        x0, y0, x1, y1 = row.crop_box
        return self._series(len(self.objects) + row.series, (self.provenance.shape_czyx[0], y1 - y0, x1 - x0))

    def stack(self) -> Pixels:
        """Whole stack of a file that `write_raw_stack` wrote, uint16 CZYX."""
        return self._series(0, self.provenance.shape_czyx)

    def close(self) -> None:
        """Close the file; may be called again."""
        self._tiff.close()

    def _series(self, index: int, shape: tuple[int, ...]) -> Pixels:
        # tifffile squeezes axes of length 1, hence the reshaping.
        with _explaining_damage(f"{self.path} does not hold {shape} pixels as series {index}"):
            pixels: Pixels = self._tiff.series[index].asarray().reshape(shape)
        if pixels.dtype != np.uint16:
            raise DamagedFile(f"{self.path} holds {pixels.dtype} pixels in series {index}, not uint16; fetch it again")
        return pixels


@contextmanager
def _explaining_damage(what: str) -> Iterator[None]:
    """On bytes that are no whole file tifffile and imagecodecs raise whatever comes, assertions of their own too."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise DamagedFile(f"{what} ({type(error).__name__}: {error}); fetch it again from the recorder") from error


def read_field_file(path: Path) -> FieldFile:
    """Open a field's file; use it as a context manager.

    Raises
    ------
    DamagedFile
        The file is not one that `write_field_file` or `write_raw_stack` wrote.
    """
    return FieldFile(path)


def _check(provenance: FieldProvenance, place: int, row: ObjectRow, crop: Pixels, fused: Pixels) -> None:
    x0, y0, x1, y1 = row.crop_box
    shape = (*provenance.shape_czyx[:2], y1 - y0, x1 - x0)
    if row.series != place:
        raise ValueError(f"object {row.number} says series {row.series}, but is given as series {place}")
    for name, pixels, expected in (("crop", crop, shape), ("fused crop", fused, (shape[0], *shape[2:]))):
        if pixels.dtype != np.uint16 or pixels.shape != expected:
            raise ValueError(
                f"the {name} of object {row.number} is {pixels.dtype} {pixels.shape}; its row says uint16 {expected}"
            )


def _write(writer: tifffile.TiffWriter, pixels: Pixels, metadata: dict[str, Any]) -> None:
    writer.write(
        pixels,
        photometric="minisblack",
        compression="zlib",
        compressionargs={"level": 1},
        # One thread: the analysis child's cores belong to the detector.
        maxworkers=1,
        software="lamelle",
        metadata=metadata,
    )


def _heading(provenance: FieldProvenance, rows: tuple[ObjectRow, ...]) -> dict[str, Any]:
    """Metadata of the whole file, given with its first series. The same field has the same bytes whenever written."""
    annotation = _StructuredAnnotation(provenance=provenance, objects=rows)
    identity = f"{provenance.night}/{provenance.slide}/{provenance.field}/{provenance.exposed_utc}"
    return {
        "Creator": "lamelle",
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_URL, identity)),
        "CommentAnnotation": {"Namespace": NAMESPACE, "Value": annotation.to_json()},
    }


def _image_metadata(provenance: FieldProvenance, name: str) -> dict[str, Any]:
    known: dict[str, Any] = {}
    if provenance.bits is not None:
        known["SignificantBits"] = provenance.bits
    if not provenance.sources:  # of an archive only the time is known at which a file was written
        exposed = datetime.fromtimestamp(provenance.exposed_utc, UTC)
        known["AcquisitionDate"] = exposed.isoformat(timespec="milliseconds").removesuffix("+00:00")
    return known | {
        "Name": _NOT_XML.sub("?", name),
        "PhysicalSizeX": provenance.pixel_um,
        "PhysicalSizeY": provenance.pixel_um,
        "Channel": {"Name": [_NOT_XML.sub("?", state) for state in provenance.polarizations]},
    }


def _stack_metadata(
    provenance: FieldProvenance, name: str, box: tuple[int, int, int, int], planes: int
) -> dict[str, Any]:
    """OME metadata of a CZYX series cut out at `box`; positions are those of the crop's centre in the stage's frame."""
    channels, _, height, width = provenance.shape_czyx
    x_um = provenance.x_um + ((box[0] + box[2]) / 2 - width / 2) * provenance.pixel_um
    y_um = provenance.y_um + ((box[1] + box[3]) / 2 - height / 2) * provenance.pixel_um
    z_um = [round(provenance.first_z_um + plane * provenance.step_um, 6) for plane in range(planes)]
    count = channels * planes
    exposures_s = [exposure_ms / 1e3 for exposure_ms in provenance.exposures_ms for _ in range(planes)]
    told = len(exposures_s) == count
    exposed = {"ExposureTime": exposures_s, "ExposureTimeUnit": ["s"] * count} if told else {}
    return _image_metadata(provenance, name) | {
        "axes": "CZYX",
        "PhysicalSizeZ": provenance.step_um,
        "Plane": exposed
        | {
            "PositionX": [round(x_um, 6)] * count,
            "PositionXUnit": ["µm"] * count,
            "PositionY": [round(y_um, 6)] * count,
            "PositionYUnit": ["µm"] * count,
            "PositionZ": z_um * channels,
            "PositionZUnit": ["µm"] * count,
        },
    }


def _title(row: ObjectRow) -> str:
    return f"object {row.number} {row.class_name} {row.score:.2f}"


def _annotation(tiff: tifffile.TiffFile, path: Path) -> _StructuredAnnotation:
    with _explaining_damage(f"{path} has unreadable OME-XML"):
        text = tiff.ome_metadata
    if text is None:
        raise DamagedFile(f"{path} has no OME-XML; it is not a file of lamelle")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - expat bounds entity expansion since 2.4.1
        for element in root.iterfind(".//{*}CommentAnnotation"):
            if element.get("Namespace") == NAMESPACE:
                return _StructuredAnnotation.from_json(element.findtext("{*}Value", ""))
    except (ElementTree.ParseError, msgspec.DecodeError) as error:
        raise DamagedFile(f"{path} has unreadable provenance ({error}); fetch it again from the recorder") from error
    raise DamagedFile(f"{path} has no annotation {NAMESPACE}; it is not a file of this version of lamelle")
