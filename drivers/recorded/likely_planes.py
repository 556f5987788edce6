"""Files of one plane each whose names are alike but for a number: perhaps the planes of stacks, and how to say so."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from drivers.recorded.file_names import NUMBER, SIGN

MANY = 5
"""Fewer files named alike are taken for single images."""
DEEP = 3
"""Fewer planes make no stack."""
_NUMBER = re.compile(
    rf"((?:(?<=^z)|(?<=[\W\d_]z)|(?<=plane)|(?<=slice)){SIGN}{NUMBER}|{NUMBER})", re.ASCII | re.IGNORECASE
)
"""A dash before a number is its sign only where the name says that it is one of planes."""
_SAYS_Z = re.compile(r"(?:^|[^a-z])(?:z|plane|slice)[ _.-]*$", re.IGNORECASE)
"""What stands before the number of a plane, where a name says that it is one."""
_WORD = re.compile(r"([^\W_]+)")


@dataclass(frozen=True)
class LikelyPlanes:
    """Files that may be planes of stacks.

    Attributes
    ----------
    pattern
        by which they would be read as such.
    names
        of the files.
    """

    pattern: str
    names: tuple[str, ...]


def likely_planes(names: Sequence[str]) -> list[LikelyPlanes]:
    """Find files of a folder that are named as planes are.

    Parameters
    ----------
    names
        of its files of one plane each, without the folder, in order.
    """
    alike: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        if not set(name) & set("{}*"):  # which a pattern cannot name
            alike.setdefault(tuple(_NUMBER.split(name)[::2]), []).append(name)
    found: dict[str, tuple[str, ...]] = {}
    for between, same in alike.items():
        pattern = _pattern(between, [_NUMBER.split(name)[1::2] for name in same]) if len(same) >= MANY else ""
        if pattern:
            found[pattern] = tuple(same)
    return _joined(found)


def _pattern(between: Sequence[str], numbers: Sequence[Sequence[str]]) -> str:
    """Write the pattern of names that have the same texts between their numbers; nothing where they are no planes."""
    differing = [place for place, values in enumerate(zip(*numbers, strict=True)) if len(set(values)) > 1]
    if not differing:
        return ""
    z = next((place for place in reversed(differing) if _SAYS_Z.search(between[place])), differing[-1])
    others = [place for place in differing if place != z]
    # A stack is of files of which only the number of the plane differs.
    if len(numbers) < DEEP * len({tuple(one[place] for place in others) for one in numbers}):
        return ""
    if others and others[0] < z < others[-1]:
        return ""
    texts = [*itertools.chain.from_iterable(zip(between, numbers[0], strict=False)), between[-1]]
    texts[2 * z + 1] = "{z}"
    if others:
        # Two numbers, say of a day and of a field, are one name together.
        texts[2 * others[0] + 1 : 2 * others[-1] + 2] = ["{field}"]
    return "".join(texts)


def _joined(found: dict[str, tuple[str, ...]]) -> list[LikelyPlanes]:
    """Take patterns for one that differ in a word alone, which is then that of the polarization."""
    patterns = [_WORD.split(pattern) for pattern in found]
    if len(patterns) == 2 and len(patterns[0]) == len(patterns[1]):
        differing = [place for place, (one, other) in enumerate(zip(*patterns, strict=True)) if one != other]
        if len(differing) == 1 and differing[0] % 2:
            patterns[0][differing[0]] = "{polarization}"
            return [LikelyPlanes("".join(patterns[0]), tuple(itertools.chain.from_iterable(found.values())))]
    return [LikelyPlanes(pattern, names) for pattern, names in found.items()]
