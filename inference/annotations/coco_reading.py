"""Reads COCO's JSON, by whatever program it was written.

Programs differ in what they take for a number, an id, a flag or a name, and in the keys that they leave out. What is
clear is read; what is not is left out by its name, and the rest of the file is kept.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from inference.annotations.coco import (
    AnnotatedImage,
    Annotation,
    AnnotationFile,
    Attribute,
    Category,
    LoadedAnnotations,
    Polygons,
    RunLengths,
    StackInfo,
    fit,
    read_picture,
    refuse_same_names,
    refuse_shares,
)
from inference.annotations.foreign import (
    LARGEST_ID,
    OddValue,
    as_numbers,
    finite,
    flag,
    identifier,
    parse_json,
    relative_name,
    shown,
)
from inference.annotations.outlines import Box, around_points, around_runs, around_turned, unpack_runs
from inference.errors import AnnotationError
from inference.wording import counted

Id = int | str
Known = TypeVar("Known")


def read(json: bytes, name: str) -> LoadedAnnotations:
    """Read COCO's JSON, by whatever program it was written.

    Boxes are clipped to their picture. One without area, and any annotation, picture or category that cannot be
    understood, is left out, as `problems` tells; an annotation without a box is taken by the box around its outline.

    Parameters
    ----------
    name
        of the file, for messages.

    Raises
    ------
    AnnotationError
        It is not COCO, holds no picture that can be used, two pictures have one id or one name, two categories one id,
        a picture's name leads out of its folder, or its boxes are not in px.
    """
    content, problems = parse_json(json, name)
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), list) for key in ("images", "annotations")
    ):
        of_tasks = isinstance(content, list) and any(isinstance(one, dict) and "data" in one for one in content)
        why = "tasks of Label Studio, with boxes in percent" if of_tasks else "no list of images and one of annotations"
        raise AnnotationError(f"annotations {name!r} are not COCO ({why}); export them again, as COCO")
    return _CocoFile(name, list(problems)).read(content)


class _CocoFile:
    """One file as it is read; gathers what could not be taken as it stands."""

    def __init__(self, name: str, problems: list[str]) -> None:
        self._name, self._problems = name, problems
        self._around = self._masks_aside = 0

    def read(self, content: dict[str, Any]) -> LoadedAnnotations:
        """Read it."""
        pictures = self._pictures(content["images"])
        if not pictures:
            why = f" ({self._problems[0]})" if self._problems else ""
            raise AnnotationError(f"annotations {self._name!r} hold no image that can be used{why}; export them again")
        categories = self._categories(content.get("categories"))
        found = [
            one
            for place, entry in enumerate(content["annotations"], start=1)
            if (one := self._annotation(entry, place, pictures, categories)) is not None
        ]
        of_many = []
        if self._around:
            of_many.append(
                f"{self._name}: "
                + counted(
                    self._around,
                    "annotation has no box and is taken by the box around its outline",
                    "annotations have no box and are taken by the box around their outline",
                )
            )
        if self._masks_aside:
            of_many.append(
                f"{self._name}: "
                + counted(
                    self._masks_aside,
                    "mask has iscrowd 1, and nothing is learnt or judged by it; ",
                    "masks have iscrowd 1, and nothing is learnt or judged by them; ",
                )
                + "CVAT gives it to every mask in COCO: where they are objects, export as 'CVAT for images 1.1'"
            )
        # Ids that are no numbers, or not one each, say nothing that is worth keeping.
        own = [key for key, _ in found if isinstance(key, int) and abs(key) <= LARGEST_ID]
        numbers = own if len(set(own)) == len(found) else range(1, len(found) + 1)
        annotations = tuple(msgspec.structs.replace(a, id=n) for n, (_, a) in zip(numbers, found, strict=True))
        used = {a.category_id for a in annotations}
        # A root that only holds the others, as Roboflow writes it.
        parents = {category.supercategory for category in categories.values()}
        kept = tuple(c for c in categories.values() if c.id in used or c.name not in parents)
        dataset = AnnotationFile(images=tuple(pictures.values()), annotations=annotations, categories=kept)
        refuse_shares(dataset, self._name)
        return LoadedAnnotations(dataset=dataset, problems=(*of_many, *self._problems))

    def _pictures(self, entries: list[Any]) -> dict[Id, AnnotatedImage]:
        named: dict[Id, object] = {}
        found: dict[Id, AnnotatedImage] = {}
        for place, entry in enumerate(entries, start=1):
            try:
                if not isinstance(entry, dict) or (key := identifier(entry.get("id"))) is None:
                    raise OddValue(f"has no id ({shown(entry)})")
                if key in named:
                    raise AnnotationError(
                        f"{self._name!r} is two files in one: image id {key} stands twice ({named[key]} and "
                        f"{entry.get('file_name')}); keep such exports in files of their own"
                    )
                named[key] = entry.get("file_name")
                found[key] = self._picture(entry)
            except OddValue as odd:
                self._problems.append(f"{self._name}: image {place} {odd}; left out")
        refuse_same_names(found.values(), self._name)
        numbers = as_numbers(found)
        return {key: msgspec.structs.replace(picture, id=numbers[key]) for key, picture in found.items()}

    def _picture(self, entry: dict[str, Any]) -> AnnotatedImage:
        picture = read_picture(entry.get("file_name"), entry, self._name)
        try:
            stack = msgspec.convert(entry.get("stack"), StackInfo | None)
            if stack is not None and stack.file_name:
                stack = msgspec.structs.replace(stack, file_name=relative_name(stack.file_name, self._name))
        except msgspec.ValidationError as error:
            raise OddValue(f"({picture.file_name}) has a 'stack' that cannot be understood ({error})") from error
        return msgspec.structs.replace(picture, stack=stack)

    def _categories(self, entries: object) -> dict[Id, Category]:
        found: dict[Id, Category] = {}
        for place, entry in enumerate(entries if isinstance(entries, list) else [], start=1):
            given = entry if isinstance(entry, dict) else {}
            key, label, above = identifier(given.get("id")), given.get("name"), given.get("supercategory")
            if key is None or not isinstance(label, str | int) or not str(label).strip():
                self._problems.append(f"{self._name}: category {place} has no id or no name; left out")
                continue
            if key in found and found[key].name != str(label):
                raise AnnotationError(
                    f"{self._name!r} is two files in one: category id {key} stands twice ({found[key].name} and "
                    f"{label}); keep such exports in files of their own"
                )
            found[key] = Category(id=0, name=str(label), supercategory=above if isinstance(above, str) else "")
        numbers = as_numbers(found)
        return {key: msgspec.structs.replace(category, id=numbers[key]) for key, category in found.items()}

    def _annotation(
        self, entry: Any, place: int, pictures: dict[Id, AnnotatedImage], categories: dict[Id, Category]
    ) -> tuple[Id | None, Annotation] | None:
        """Read an annotation, and the id that it has in its file."""
        given: dict[str, Any] = entry if isinstance(entry, dict) else {}
        key = identifier(given.get("id"))
        told = f"{self._name}: annotation {f'number {place}' if key is None else key}"
        try:
            picture = _among(pictures, given.get("image_id"), "image")
            told += f" of {picture.file_name!r}"
            category = _among(categories, given.get("category_id"), "category")
            drawn, outline = given.get("bbox") not in (None, [], [0, 0, 0, 0]), given.get("segmentation")
            attributes = _attributes(given.get("attributes"))
            around = _box(given["bbox"]) if drawn else _around(outline, picture)
            if drawn and not outline:
                # CVAT's boxes as they were before they were turned; those around outlines are around what was turned.
                around = around_turned(around, finite(attributes.pop("rotation", None)) or 0)
            box, problem = fit(around, picture)
        except OddValue as odd:
            self._problems.append(f"{told} {odd}; left out")
            return None
        if problem:
            self._problems.append(f"{told} {problem}")
        if box is None:
            return None
        ignored = flag(given.get("iscrowd")) or flag(given.get("ignore"))
        self._around += not drawn
        self._masks_aside += ignored and isinstance(outline, dict)
        area = finite(given.get("area"))
        annotation = Annotation(
            id=0,
            image_id=picture.id,
            category_id=category.id,
            bbox=box,
            area=box[2] * box[3] if area is None or area < 0 else area,
            iscrowd=int(ignored),
            segmentation=_outline(given.get("segmentation", ())),
            attributes=attributes,
        )
        return key, annotation


def _among(known: dict[Id, Known], value: object, what: str) -> Known:
    key = identifier(value)
    if key is None or key not in known:
        raise OddValue(f"names the {what} {shown(value)}, which is not there")
    return known[key]


def _box(bbox: object) -> Box:
    values = [finite(value) for value in bbox] if isinstance(bbox, list) else []
    x, y, width, height = values if len(values) == 4 else (None,) * 4
    if x is None or y is None or width is None or height is None:
        raise OddValue(f"has a box that is not four numbers ({shown(bbox)})")
    return x, y, width, height


def _around(outline: object, picture: AnnotatedImage) -> Box:
    """Box around polygons or a mask of a picture, as COCO has them."""
    try:
        if isinstance(outline, dict):
            rows, columns = map(int, outline["size"])
            if (rows, columns) != (picture.height, picture.width):
                raise ValueError(f"a mask of {columns} x {rows} px")
            counts = outline["counts"]
            runs = unpack_runs(counts) if isinstance(counts, str) else [int(count) for count in counts]
            # COCO's masks run down the columns.
            box = around_runs(runs, rows, columns)
            if box is not None:
                return box[1], box[0], box[3], box[2]
        elif isinstance(outline, list) and outline:
            parts = outline if isinstance(outline[0], list) else [outline]
            values = [[finite(value) for value in part] for part in parts if len(part) >= 6]
            xs, ys = ([v for part in values for v in part[axis::2]] for axis in (0, 1))
            known_xs, known_ys = ([v for v in vs if v is not None] for vs in (xs, ys))
            if xs and len(known_xs) == len(known_ys) == len(xs) == len(ys):
                return around_points(known_xs, known_ys)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise OddValue(f"has no box, and an outline that cannot be understood ({shown(error)})") from error
    raise OddValue("has neither a box nor an outline around an area")


def _outline(given: object) -> Polygons | RunLengths | None:
    try:
        return msgspec.convert(given, Polygons | RunLengths | None)
    except msgspec.ValidationError:
        return ()


def _attributes(given: object) -> dict[str, Attribute]:
    attributes = given if isinstance(given, dict) else {}
    kept: dict[str, Attribute] = {}
    for name, value in attributes.items():
        if isinstance(value, bool | str):
            kept[name] = value
        elif (found := finite(value)) is not None:
            kept[name] = found
    return kept
