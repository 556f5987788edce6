"""Annotations as CVAT for images 1.1 (XML), for people to look at and correct.

Structure as in CVAT's own description of the format, version 1.1: `meta` with one task and its labels, then an
`image` for each picture, its boxes by their corners in px. Ids of images count from 0. An attribute's type is
`checkbox` for what is true or false and `text` for all else: CVAT takes a `number` only on steps of a range that is
given beforehand.
"""

from __future__ import annotations

from collections import defaultdict
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from inference.annotations import Annotation, Attribute, Category, Dataset

IGNORED = "is_crowd"
"""Attribute of what neither has to be found nor is false when found."""
OCCLUDED = "touching"
"""Attribute that CVAT shows as occluded."""


def to_xml(dataset: Dataset, source: str) -> bytes:
    """CVAT XML of a dataset.

    Parameters
    ----------
    source : who made the annotations, such as `manual` or `emulated`.
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
