"""Annotations as CVAT for images 1.1 (XML), written for people to look at and correct, and read when they did.

Structure as in CVAT's own description of the format, version 1.1: `meta` with one task and its labels, then an
`image` for each picture, its boxes by their corners in px. Ids of images count from 0. An attribute's type is
`checkbox` for what is true or false and `text` for all else: CVAT takes a `number` only on steps of a range that is
given beforehand. Read is what has a place and a label: who drew it, and whose task it was, is never looked at.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError, SubElement, XMLParser, fromstring, indent, tostring

from inference.annotations.coco import (
    AnnotatedImage,
    Annotation,
    AnnotationFile,
    Attribute,
    Box,
    Category,
    LoadedAnnotations,
    fit,
)
from inference.errors import AnnotationError

IGNORED = "is_crowd"
"""Attribute of what neither has to be found nor is false when found."""
OCCLUDED = "touching"
"""Attribute that CVAT shows as occluded."""


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
    by_image: defaultdict[int, list[Annotation]] = defaultdict(list)
    for annotation in dataset.annotations:
        by_image[annotation.image_id].append(annotation)
    for category in dataset.categories:
        _label(labels, category, dataset.annotations)
    for number, picture in enumerate(dataset.images):
        size = {"width": str(picture.width), "height": str(picture.height)}
        image = SubElement(root, "image", {"id": str(number), "name": picture.file_name, **size})
        for annotation in by_image[picture.id]:
            _box(image, names[annotation.category_id], annotation, source)
    indent(root)
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _label(labels: Element, category: Category, annotations: tuple[Annotation, ...]) -> None:
    label = SubElement(labels, "label")
    _text(label, "name", category.name)
    _text(label, "type", "rectangle")
    described = SubElement(label, "attributes")
    attributes: dict[str, Attribute] = {IGNORED: False}
    for annotation in annotations:
        if annotation.category_id == category.id:
            attributes |= annotation.attributes
    for name, value in attributes.items():
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

    A box that was turned is taken by the box around it. Boxes are clipped to their image; those without area, and other
    shapes than boxes, are left out, as `problems` tells.

    Parameters
    ----------
    name
        of the file, for messages.

    Raises
    ------
    AnnotationError
        It is not such an export, or holds no image.
    """
    try:
        root = fromstring(xml, XMLParser())  # noqa: S314 - expat limits what entities grow to, and loads none from elsewhere
        pictures = [_picture(element, number) for number, element in enumerate(root.iter("image"), start=1)]
    except (ParseError, KeyError, ValueError) as error:
        raise AnnotationError(f"{name!r} is not an export of CVAT for images 1.1 ({error}); export it again") from error
    if not pictures:
        raise AnnotationError(f"{name!r} holds no image; export the task again as 'CVAT for images 1.1'")
    problems: list[str] = []
    annotations: list[Annotation] = []
    numbers = {label: k for k, label in enumerate(_labels(root), start=1)}
    for picture, element in zip(pictures, root.iter("image"), strict=True):
        for place, shape in enumerate(element):
            where = f"{name}: {shape.tag} {place + 1} of {picture.file_name!r}"
            try:
                box, problem = (None, "is not a box; left out") if shape.tag != "box" else fit(_around(shape), picture)
            except (KeyError, ValueError) as error:
                raise AnnotationError(f"{where} cannot be read ({error}); export it again") from error
            if problem and shape.tag != "tag":
                problems.append(f"{where} {problem}")
            if box is not None:
                category = numbers.setdefault(shape.attrib["label"], len(numbers) + 1)
                annotations.append(_annotation(shape, box, picture, category, len(annotations) + 1))
    categories = tuple(Category(id=number, name=label) for label, number in numbers.items())
    dataset = AnnotationFile(images=tuple(pictures), annotations=tuple(annotations), categories=categories)
    return LoadedAnnotations(dataset=dataset, problems=tuple(problems))


def _picture(element: Element, number: int) -> AnnotatedImage:
    given = element.attrib
    return AnnotatedImage(id=number, file_name=given["name"], width=int(given["width"]), height=int(given["height"]))


def _labels(root: Element) -> Iterator[str]:
    """Names of the labels in the order of the export; a project's tasks repeat them."""
    yield from dict.fromkeys(label.findtext("name", "") for label in root.iter("label"))


def _around(shape: Element) -> Box:
    """Box around a box, which may be turned: by degrees, clockwise, about its centre."""
    x0, y0, x1, y1 = (float(shape.attrib[corner]) for corner in ("xtl", "ytl", "xbr", "ybr"))
    turn = math.radians(float(shape.get("rotation", "0")))
    width = abs((x1 - x0) * math.cos(turn)) + abs((y1 - y0) * math.sin(turn))
    height = abs((x1 - x0) * math.sin(turn)) + abs((y1 - y0) * math.cos(turn))
    if not turn:
        width, height = x1 - x0, y1 - y0
    return (x0 + x1 - width) / 2, (y0 + y1 - height) / 2, width, height


def _annotation(shape: Element, box: Box, picture: AnnotatedImage, category: int, number: int) -> Annotation:
    attributes: dict[str, Attribute] = {}
    for attribute in shape.iter("attribute"):
        text = attribute.text or ""
        attributes[attribute.attrib["name"]] = text == "true" if text in ("true", "false") else text
    ignored = attributes.pop(IGNORED, False) is True
    return Annotation(
        id=number,
        image_id=picture.id,
        category_id=category,
        bbox=box,
        area=box[2] * box[3],
        iscrowd=int(ignored),
        attributes={OCCLUDED: shape.get("occluded") == "1", **attributes},
    )
