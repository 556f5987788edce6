"""Annotations as CVAT for images 1.1 (XML), written for people to look at and correct, and read when they did.

Structure as in CVAT's own description of the format, version 1.1: `meta` with one task and its labels, then an
`image` for each picture, its boxes by their corners in px. Ids of images count from 0. An attribute's type is
`checkbox` for what is true or false and `text` for all else: CVAT takes a `number` only on steps of a range that is
given beforehand. Read is what has a place and a label: who drew it, and whose task it was, is never looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError, SubElement, XMLParser, fromstring, indent, tostring

import msgspec

from inference.annotations.coco import (
    NOT_VALIDATED,
    AnnotatedImage,
    Annotation,
    AnnotationFile,
    Attribute,
    Category,
    LoadedAnnotations,
    fit,
    read_picture,
    refuse_same_names,
    refuse_shares,
)
from inference.annotations.foreign import OddValue, finite, flag, refuse_entities, shown
from inference.annotations.outlines import Box, around_ellipse, around_points, around_runs, around_turned
from inference.errors import AnnotationError
from inference.wording import counted

IGNORED = "is_crowd"
"""Attribute of what neither has to be found nor is false when found."""
OCCLUDED = "touching"
"""Attribute that CVAT shows as occluded."""
ONE_AND_MORE = {
    "polygon": ("polygon", "polygons"),
    "polyline": ("line", "lines"),
    "points": ("set of points", "sets of points"),
    "ellipse": ("ellipse", "ellipses"),
    "mask": ("mask", "masks"),
    "cuboid": ("cuboid", "cuboids"),
    "skeleton": ("skeleton", "skeletons"),
    "tag": ("tag of a whole image", "tags of whole images"),
}
CORNERS_OF_A_CUBOID = ("tl1", "bl1", "tr1", "br1", "tl2", "bl2", "tr2", "br2")


def to_xml(dataset: AnnotationFile, source: str) -> bytes:
    """CVAT XML of a dataset.

    Parameters
    ----------
    source
        who made the annotations, such as `manual` or `emulated`.
    """
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    task = SubElement(SubElement(root, "meta"), "task")
    _text(task, "name", "lamelle")
    _text(task, "size", str(len(dataset.images)))
    _text(task, "mode", "annotation")
    _text(task, "z_order", "True")
    labels = SubElement(task, "labels")
    names = {category.id: category.name for category in dataset.categories}
    by_picture = dataset.by_picture()
    for category in dataset.categories:
        _label(labels, category, dataset.annotations)
    for number, picture in enumerate(dataset.images):
        size = {"width": str(picture.width), "height": str(picture.height)}
        image = SubElement(root, "image", {"id": str(number), "name": picture.file_name, **size})
        if picture.subset:
            image.set("subset", picture.subset)
        for annotation in by_picture[picture.id]:
            _box(image, names[annotation.category_id], annotation, source)
    indent(root)
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def to_labels(dataset: AnnotationFile) -> bytes:
    """JSON that CVAT makes labels of, with all their attributes: without these it would drop what boxes say.

    Classes that nobody has validated have a second label each, for those who have.
    """
    labels = [
        {"name": name, "type": "rectangle", "attributes": [_declared(*one) for one in attributes.items()]}
        for category in dataset.categories
        for attributes in [_attributes_of(category, dataset.annotations)]
        for name in dict.fromkeys((category.name, category.name.removesuffix(NOT_VALIDATED)))
    ]
    return msgspec.json.format(msgspec.json.encode(labels), indent=1)


def _declared(name: str, value: Attribute) -> dict[str, object]:
    checkbox = isinstance(value, bool)
    default = "false" if checkbox else ""
    kind = "checkbox" if checkbox else "text"
    return {"name": name, "mutable": False, "input_type": kind, "default_value": default, "values": [default]}


def _attributes_of(category: Category, annotations: tuple[Annotation, ...]) -> dict[str, Attribute]:
    """Attributes that objects of a class have, with a value of each."""
    attributes: dict[str, Attribute] = {IGNORED: False}
    for annotation in annotations:
        if annotation.category_id == category.id:
            attributes |= annotation.attributes
    return attributes


def _label(labels: Element, category: Category, annotations: tuple[Annotation, ...]) -> None:
    label = SubElement(labels, "label")
    _text(label, "name", category.name)
    _text(label, "type", "rectangle")
    described = SubElement(label, "attributes")
    for name, value in _attributes_of(category, annotations).items():
        checkbox = isinstance(value, bool)
        attribute = SubElement(described, "attribute")
        _text(attribute, "name", name)
        _text(attribute, "mutable", "False")
        _text(attribute, "input_type", "checkbox" if checkbox else "text")
        _text(attribute, "default_value", "false" if checkbox else "")
        _text(attribute, "values", "false\ntrue" if checkbox else "")


def _box(image: Element, label: str, annotation: Annotation, source: str) -> None:
    x, y, width, height = annotation.bbox
    corners = {"xtl": x, "ytl": y, "xbr": x + width, "ybr": y + height}
    occluded = annotation.attributes.get(OCCLUDED) is True
    box = SubElement(image, "box", {"label": label, "source": source, "occluded": str(int(occluded))})
    for name, at in corners.items():
        box.set(name, f"{at:.2f}")
    box.set("z_order", "0")
    attributes: dict[str, Attribute] = {IGNORED: bool(annotation.iscrowd), **annotation.attributes}
    for name, value in attributes.items():
        _text(box, "attribute", str(value).lower() if isinstance(value, bool) else str(value)).set("name", name)


def _text(parent: Element, name: str, text: str) -> Element:
    child = SubElement(parent, name)
    child.text = text
    return child


def read(xml: bytes, name: str) -> LoadedAnnotations:
    """Read an export of a task, a job or a project.

    What bounds an area is taken by the box around it: turned boxes, polygons, closed lines, ellipses, masks. Boxes are
    clipped to their image. Those without area, what bounds none, and any shape or image that cannot be understood, are
    left out, as `problems` tells.

    Parameters
    ----------
    name
        of the file, for messages.

    Raises
    ------
    AnnotationError
        It is not such an export, holds no image that can be used, two of one name in one subset, declares entities, or
        an image's name leads out of its folder.
    """
    refuse_entities(xml, name)
    try:
        root = fromstring(xml, XMLParser())  # noqa: S314 - it declares no entities
    except ParseError as error:
        raise AnnotationError(f"{name!r} is not an export of CVAT for images 1.1 ({error}); export it again") from error
    return _CvatFile(name).read(root)


class _CvatFile:
    """One export as it is read; gathers what could not be taken as it stands."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._problems: list[str] = []
        self._around, self._without_area = Counter[str](), Counter[str]()
        self._annotations: list[Annotation] = []
        self._grouped = 0

    def read(self, root: Element) -> LoadedAnnotations:
        """Read it."""
        numbers = {label: k for k, label in enumerate(_labels(root), start=1)}
        pictures: list[AnnotatedImage] = []
        for place, element in enumerate(root.iter("image"), start=1):
            try:
                picture = read_picture(element.get("name"), element.attrib, self._name)
            except OddValue as odd:
                self._problems.append(f"{self._name}: image {place} {odd}; left out")
                continue
            picture = msgspec.structs.replace(picture, id=len(pictures) + 1)
            pictures.append(picture)
            for number_there, shape in enumerate(element, start=1):
                self._read_shape(shape, number_there, picture, numbers)
        if not pictures:
            why = f" ({self._problems[0]})" if self._problems else ""
            raise AnnotationError(
                f"{self._name!r} holds no image that can be used{why}; export the task again as 'CVAT for images 1.1'"
            )
        refuse_same_names(pictures, self._name)
        of_many = []
        if self._around:
            of_many.append(f"{self._name}: {_counts(self._around)} taken by the box around each")
        if self._without_area:
            of_many.append(f"{self._name}: {_counts(self._without_area)} without an area; left out")
        if self._grouped:
            what = counted(self._grouped, "shape is", "shapes are")
            of_many.append(f"{self._name}: {what} of a group; each is taken for an object of its own")
        if tracks := sum(1 for _ in root.iter("track")):
            what = counted(tracks, "track of a video is", "tracks of a video are")
            of_many.append(f"{self._name}: {what} of no image here; left out; export it as 'CVAT for images 1.1'")
        categories = tuple(Category(id=number, name=label) for label, number in numbers.items())
        dataset = AnnotationFile(images=tuple(pictures), annotations=tuple(self._annotations), categories=categories)
        refuse_shares(dataset, self._name)
        return LoadedAnnotations(dataset=dataset, problems=(*of_many, *self._problems))

    def _read_shape(self, shape: Element, place: int, picture: AnnotatedImage, numbers: dict[str, int]) -> None:
        where = f"{self._name}: {shape.tag} {place} of {picture.place!r}"
        try:
            drawn = _around(shape)
            if drawn is None:
                self._without_area[shape.tag] += 1
                return
            if not (label := shape.get("label", "")):
                raise OddValue("has no label")
        except OddValue as odd:
            self._problems.append(f"{where} {odd}; left out")
            return
        box, problem = fit(drawn, picture)
        if problem:
            self._problems.append(f"{where} {problem}")
        if box is not None:
            if shape.tag != "box":
                self._around[shape.tag] += 1
            self._grouped += shape.get("group_id", "0") != "0"
            category = numbers.setdefault(label, len(numbers) + 1)
            self._annotations.append(_annotation(shape, box, picture, category, len(self._annotations) + 1))


def _labels(root: Element) -> Iterator[str]:
    """Names of the labels in the order of the export; a project's tasks repeat them."""
    yield from dict.fromkeys(label.findtext("name", "") for label in root.iter("label"))


def _counts(of: Counter[str]) -> str:
    named = ((number, ONE_AND_MORE.get(tag, (f"<{tag}>",) * 2)) for tag, number in of.items())
    *others, last = (counted(number, one, more) for number, (one, more) in named)
    return f"{', '.join(others)} and {last}" if others else last


def _around(shape: Element) -> Box | None:
    """Box around a shape; None of what bounds no area."""
    if shape.tag == "box":
        x0, y0, x1, y1 = (_number(shape, corner) for corner in ("xtl", "ytl", "xbr", "ybr"))
        return around_turned((x0, y0, x1 - x0, y1 - y0), _degrees(shape))
    if shape.tag == "ellipse":
        cx, cy, rx, ry = (_number(shape, name) for name in ("cx", "cy", "rx", "ry"))
        return around_ellipse((cx, cy), rx, ry, _degrees(shape))
    if shape.tag == "cuboid":
        corners = [f"{axis}{corner}" for axis in "xy" for corner in CORNERS_OF_A_CUBOID]
        values = [_number(shape, corner) for corner in corners]
        return around_points(values[: len(CORNERS_OF_A_CUBOID)], values[len(CORNERS_OF_A_CUBOID) :])
    if shape.tag == "mask":
        return _around_mask(shape)
    if shape.tag in ("polygon", "polyline"):
        points = _points(shape)
        closed = shape.tag == "polygon" or points[0] == points[-1]
        return around_points([x for x, _ in points], [y for _, y in points]) if closed and len(points) > 2 else None
    return None


def _around_mask(shape: Element) -> Box:
    left, top, width, height = (_number(shape, name) for name in ("left", "top", "width", "height"))
    try:
        runs = [int(run) for run in shape.get("rle", "").split(",")]
        box = around_runs(runs, int(width), int(height))
    except ValueError as error:
        raise OddValue(f"has a mask that cannot be understood ({shown(str(error))})") from error
    if box is None:
        raise OddValue("has no area")
    return box[0] + left, box[1] + top, box[2], box[3]


def _points(shape: Element) -> list[tuple[float, float]]:
    written = shape.get("points", "")
    pairs = [tuple(finite(value) for value in point.split(",")) for point in written.split(";")]
    points = [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]
    known = [(x, y) for x, y in points if x is not None and y is not None]
    if len(known) < len(pairs):
        raise OddValue(f"has points that are not pairs of numbers ({shown(written)})")
    return known


def _number(shape: Element, attribute: str) -> float:
    found = finite(shape.get(attribute))
    if found is None:
        raise OddValue(f"has no number {attribute} ({shown(shape.get(attribute))})")
    return found


def _degrees(shape: Element) -> float:
    return _number(shape, "rotation") if shape.get("rotation") else 0.0


def _annotation(shape: Element, box: Box, picture: AnnotatedImage, category: int, number: int) -> Annotation:
    attributes: dict[str, Attribute] = {}
    for attribute in shape.iter("attribute"):
        text = attribute.text or ""
        attributes[attribute.get("name", "")] = text == "true" if text in ("true", "false") else text
    ignored = flag(attributes.pop(IGNORED, False))
    return Annotation(
        id=number,
        image_id=picture.id,
        category_id=category,
        bbox=box,
        area=box[2] * box[3],
        iscrowd=int(ignored),
        attributes={OCCLUDED: shape.get("occluded") == "1", **attributes},
    )
