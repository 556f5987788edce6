"""Values in files of other programs: numbers, ids, flags and names of files, whatever they were written as."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Hashable, Iterable
from pathlib import PureWindowsPath
from typing import TypeVar
from xml.parsers import expat

from inference.errors import AnnotationError

WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.0+)?")
"""A text that is a whole number, and not one with leading zeros, which would be another id."""
LARGEST_ID = 2**63 - 1
LONGEST_NAME = 255
"""Bytes that a file system takes."""
SHOWN = 60
"""Characters of a value that are shown in a message."""
Key = TypeVar("Key", bound=Hashable)


class OddValue(Exception):
    """Something in a file that cannot be taken as it stands; the message goes on from its name."""


class _ListTwice(Exception):
    """A map has two lists of this name."""


def parse_json(content: bytes, name: str) -> tuple[object, tuple[str, ...]]:
    """Parse JSON in UTF-8, 16 or 32, with a byte order mark or without; else in the code page of Western Windows.

    Returns the value, and what had to be assumed, a sentence each.

    Raises
    ------
    AnnotationError
        It is not JSON.
    """
    try:
        try:
            return json.loads(content, object_pairs_hook=_lists_once), ()
        except UnicodeDecodeError:
            found = json.loads(content.decode("cp1252"), object_pairs_hook=_lists_once)
            return found, (f"{name}: is not in UTF-8; read as of Windows (cp1252)",)
    except _ListTwice as twice:
        raise AnnotationError(
            f"{name!r} is two files in one: its list {str(twice)!r} stands twice, and of two only the last is read; "
            "keep such exports in files of their own"
        ) from twice
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"annotations {name!r} are not COCO ({error}); export them again") from error


def _lists_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make a map, in which a list must not take the place of one before it."""
    made = dict(pairs)
    if len(made) < len(pairs):
        lists = [key for key, value in pairs if isinstance(value, list)]
        for key in lists:
            if lists.count(key) > 1:
                raise _ListTwice(key)
    return made


def refuse_entities(xml: bytes, name: str) -> None:
    """Refuse XML that declares entities: they grow without bound, or read other files; no export has any.

    Raises
    ------
    AnnotationError
        With the entity's name.
    """
    parser = expat.ParserCreate()

    def refuse(entity: str, *_: object) -> None:
        raise AnnotationError(f"{name!r} declares the XML entity {entity!r}; take it out, or export the file again")

    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(xml, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise AnnotationError(f"{name!r} is not an export of CVAT for images 1.1 ({error}); export it again") from error


def finite(value: object) -> float | None:
    """Give a finite number, also one that was written as text; None of all else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def size_px(value: object) -> int | None:
    """Give a side of a picture; None of what none can have."""
    found = finite(value)
    return int(found) if found is not None and found >= 1 and found.is_integer() else None


def identifier(value: object) -> int | str | None:
    """Give an id: 7, 7.0 and "7" are one and the same; None where there is none."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, int):
        return int(value)
    if not isinstance(value, str):
        return None
    text = value.strip()
    return int(text.partition(".")[0]) if WHOLE.fullmatch(text) and len(text) < SHOWN else text or None


def flag(value: object) -> bool:
    """Give a truth value, written as such, as a number or as text."""
    if isinstance(value, str):
        return value.strip().lower() in ("true", "yes") or bool(finite(value))
    return value is True or bool(finite(value))


def relative_name(name: object, file: str) -> str:
    """Give the name of a file below some folder, its parts apart by slashes.

    Parameters
    ----------
    file
        that names it, for messages.

    Raises
    ------
    OddValue
        It is no name of a file.
    AnnotationError
        It leads out of that folder.
    """
    if not isinstance(name, str) or not name.strip():
        raise OddValue(f"has no file's name ({shown(name)})")
    parts = name.replace("\\", "/").split("/")
    if "\0" in name or not _is_unicode(name) or max(map(len, map(str.encode, parts))) > LONGEST_NAME:
        raise OddValue(f"has a name that no file can have ({shown(name)})")
    windows = PureWindowsPath(name)
    if windows.drive or windows.root or ".." in parts:
        raise AnnotationError(
            f"{file!r} names {shown(name)}, which leads out of its folder; name files relative to that folder"
        )
    kept = "/".join(part for part in parts if part not in ("", "."))
    if not kept:
        raise OddValue(f"has no file's name ({shown(name)})")
    return kept


def as_numbers(keys: Iterable[Key]) -> dict[Key, int]:
    """Give every key a number: itself where all are numbers, else from 1 on."""
    known = list(dict.fromkeys(keys))
    if all(isinstance(key, int) and abs(key) <= LARGEST_ID for key in known):
        return {key: key for key in known if isinstance(key, int)}
    return {key: place for place, key in enumerate(known, start=1)}


def shown(value: object) -> str:
    """Give a value as it stands, shortened."""
    return textwrap.shorten(repr(value), SHOWN, placeholder=" ...")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
