"""The images below a folder of OME-Zarr: one, a series, or those of a plate; each is found, or told why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from drivers.errors import ImageRefused
from drivers.recorded.file_names import natural
from drivers.recorded.formats.micromanager import MAX_JSON_BYTES, said
from drivers.recorded.formats.ome_tiff import inside, xml_of
from drivers.recorded.gathered import check_count
from drivers.recorded.held import explaining, fault_of

OLD, OLD_ARRAY, NEW = ".zattrs", ".zarray", "zarr.json"
Said = Mapping[str, Any]
_XML = "METADATA.ome.xml"
_UNNAMED = "what it lies in does not name it"


class ZarrImage(NamedTuple):
    """An image of a folder.

    Attributes
    ----------
    name
        of the image, or of where it lies; empty where there is only one.
    scales
        what is said of its sizes.
    own
        the name that it has itself, if any.
    fault
        why it cannot be read; empty where it is found.
    told
        what a person should know of it, a clause each.
    """

    name: str
    folder: Path
    scales: Said
    own: str = ""
    fault: str = ""
    told: tuple[str, ...] = ()


def is_array(folder: Path) -> bool:
    """Whether a folder is an array of Zarr."""
    if (folder / NEW).is_file():
        return _said_in(folder / NEW).get("node_type") == "array"
    return (folder / OLD_ARRAY).is_file()


def attributes_of(folder: Path) -> Said:
    """Read what a folder says of itself, old or new."""
    if (folder / NEW).is_file():
        found = _said_in(folder / NEW).get("attributes", {}).get("ome", {})
    elif (folder / OLD).is_file():
        found = _said_in(folder / OLD)
    else:
        found = {}
    return found if isinstance(found, dict) else {}


def images_of(folder: Path) -> list[ZarrImage]:
    """Find the images below a folder.

    Raises
    ------
    ImageRefused
        What is said of the folder itself is damaged, or its only image is.
    """
    attributes = attributes_of(folder)
    if "multiscales" in attributes:
        return _of_folder(folder, "")
    if "plate" in attributes:
        return _of_plate(folder, attributes["plate"]["wells"])
    return _of_series(folder)


def _of_plate(folder: Path, wells: Sequence[Any]) -> list[ZarrImage]:
    named = [str(well["path"]) if isinstance(well, dict) and "path" in well else "" for well in wells]
    there = [
        f"{row.name}/{name}"
        for row in _folders(folder)
        for name in _unnamed(row, "well", [well.removeprefix(f"{row.name}/") for well in named])
    ]
    images = []
    for nth, well in enumerate(named, 1):
        nowhere = ZarrImage(f"well {nth}", folder, {}, fault="its plate does not say where it lies; write it again")
        images += _of_well(folder, well) if well else [nowhere]
    more = [image for well in there for image in _of_well(folder, well)]
    return [*images, *(image._replace(told=(_UNNAMED,)) for image in more)]


def _of_well(folder: Path, well: str) -> list[ZarrImage]:
    try:
        with explaining(f"its well {well} is damaged"):
            below = inside(folder, well)
            said_of_well = attributes_of(below).get("well")
            if not said_of_well:
                raise ImageRefused(f"its well {well} is missing; copy the whole folder")
            fields = [str(field["path"]) for field in said_of_well["images"]]
            more = _unnamed(below, "multiscales", fields)
    except (ImageRefused, OSError) as error:
        return [ZarrImage(well, folder, {}, fault=fault_of(error))]
    images = [image for field in fields for image in _below(below, field, f"{well}/{field}")]
    unnamed = [image for field in more for image in _below(below, field, f"{well}/{field}")]
    return [*images, *(image._replace(told=(_UNNAMED,)) for image in unnamed)]


def _unnamed(folder: Path, key: str, named: Sequence[str]) -> list[str]:
    """Name the folders in a folder that say something by this key and are not named."""
    found = []
    for path in _folders(folder):
        try:
            if path.name not in named and key in attributes_of(path):
                found.append(path.name)
        except (ImageRefused, OSError):
            continue  # nothing says that it is one
    return found


def _folders(folder: Path) -> list[Path]:
    return sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: natural(path.name))


def _of_series(folder: Path) -> list[ZarrImage]:
    """Find the images of a series, which is listed or numbered; each is called by the name that it alone has."""
    listed, titles, told = [], [], []
    try:
        with explaining("it is damaged"):
            listed = [str(name) for name in attributes_of(folder / "OME").get("series") or ()]
            titles = _titles(folder / "OME" / _XML)
    except (ImageRefused, OSError) as error:
        told = [f"the list of its images cannot be read, so some may be missing: {fault_of(error)}"]
    numbers = [int(path.name) for path in _folders(folder) if path.name.isdecimal()]
    count = max([len(titles), *(number + 1 for number in numbers)])
    check_count(count)
    named = listed or [str(number) for number in range(count)]
    names = dict.fromkeys((*named, *map(str, numbers)))
    found = [(nth, image) for nth, name in enumerate(names) for image in _below(folder, name, name)]
    called = [image.own or (titles[nth] if nth < len(titles) else "") for nth, image in found]
    taken = Counter([*called, *(image.name for _, image in found)])
    return [
        image._replace(
            name=own if own and taken[own] == 1 else image.name,
            told=(*told, *([_UNNAMED] if nth >= len(named) else [])),
        )
        for (nth, image), own in zip(found, called, strict=True)
    ]


def _titles(file: Path) -> list[str]:
    """Names of the images of a series, as its XML says them, which bioformats2raw lays beside it."""
    return [image.get("Name", "") for image in xml_of(file).iterfind("{*}Image")] if file.is_file() else []


def _said_in(file: Path) -> Said:
    with file.open("rb") as stream:
        return said(stream.read(MAX_JSON_BYTES + 1))


def _below(folder: Path, path: str, name: str) -> list[ZarrImage]:
    try:
        with explaining(f"its image {name} is damaged"):
            return _of_folder(inside(folder, path), name)
    except (ImageRefused, OSError) as error:
        return [ZarrImage(name, folder, {}, fault=fault_of(error))]


def _of_folder(folder: Path, name: str) -> list[ZarrImage]:
    """Give the images that a folder says it holds, mostly one; several ways to shrink one image are one."""
    several: dict[str, Said] = {}
    attributes = attributes_of(folder)
    if "image-label" in attributes:
        raise ImageRefused("it holds labels of what is in an image, and no light; name the image")
    for scales in attributes.get("multiscales", ()):
        several.setdefault(str(scales["datasets"][0]["path"]), scales)
    if not several:
        raise ImageRefused(f"its image {name or folder.name} is missing; copy the whole folder")
    own = [str(scales.get("name") or "") for scales in several.values()]
    if len(own) == 1:
        return [ZarrImage(name, folder, scales, own[0]) for scales in several.values()]
    return [
        ZarrImage(" ".join(filter(None, (name, called))), folder, scales)
        for called, scales in zip(own, several.values(), strict=True)
    ]
