"""Plane files: one file a plane; a pattern such as `{field}_z{z}.tif` says what their names tell."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from drivers.errors import ImageRefused, SettingRefused

PLACES = {"field": r"(?P<field>[^/]+?)", "z": r"(?P<z>\d+)", "polarization": r"(?P<polarization>[^\W_]+)"}
BRIGHT, CROSSED = "parallel", "crossed"
STATES = (CROSSED, BRIGHT)


@dataclass(frozen=True)
class Polarizations:
    """Which states the stacks have along C, and the word that stands for each in names; none: as the names say."""

    states: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Sequence[str]) -> Polarizations:
        """Read what a person gave: `crossed`, or `crossed=LR` where names say LR.

        Raises
        ------
        Refused
            A state is unknown, or given twice.
        """
        pairs = [one.partition("=") for one in given]
        states = tuple(state for state, _, _ in pairs)
        for state in states:
            if state not in STATES or states.count(state) > 1:
                raise SettingRefused(
                    f"--polarization {state!r} must be one of {' and '.join(STATES)}, each given once; correct it"
                )
        return cls(states, tuple(word or state for state, _, word in pairs))

    def among(self, names: Sequence[str], in_order: bool) -> tuple[str, ...]:
        """States of channels with these names, as many as there are; if need be by their order, where they have one.

        Raises
        ------
        ImageRefused
            It cannot be told what they are.
        """
        known = {word.lower(): state for word, state in zip(self.words, self.states, strict=True)}
        known = known or {state: state for state in STATES}
        found = tuple(known.get(name.lower(), "") for name in names)
        if all(found) and len(set(found)) == len(found):
            return found
        if in_order and len(self.states) == len(names) and self.words == self.states:
            return self.states
        if in_order and len(names) == 1 and not self.states:
            return (BRIGHT,)
        told = ", ".join(repr(name) for name in names)
        raise ImageRefused(
            f"it has {len(names)} polarizations, named {told}; say what each is, such as --polarization crossed=LR"
        )


@dataclass(frozen=True)
class StackFiles:
    """Files of one stack: `names` with polarization as the outer loop; `fault` says what is wrong with them, if any."""

    folder: str
    field: str
    names: tuple[str, ...]
    states: tuple[str, ...]
    fault: str = ""


class NamePattern:
    """How plane files are named.

    `{field}`, `{z}` and `{polarization}` stand for what differs, `*` for anything; with a `/` the names of the folders
    above belong to it too.

    Raises
    ------
    Refused
        There is no `{field}`, or a place that is unknown or stands twice.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        parts = re.split(r"(\{\w*\}|\*)", text)
        names = [part[1:-1] for part in parts if part.startswith("{")]
        if "field" not in names or len(set(names)) < len(names) or not set(names) <= set(PLACES):
            raise SettingRefused(
                f"--planes {text!r} must hold {{field}}, and may hold {{z}} and {{polarization}}, each once"
            )
        self._depth = text.count("/") + 1
        expression = "".join(
            PLACES[part[1:-1]] if part.startswith("{") else "[^/]*?" if part == "*" else re.escape(part)
            for part in parts
        )
        self._expression = re.compile(expression, re.ASCII | re.IGNORECASE)

    def match(self, name: str) -> tuple[str, str, str, int] | None:
        """Folder, field, word for the polarization (empty where none stands) and number of the plane, of a file."""
        parts = name.split("/")
        found = self._expression.fullmatch("/".join(parts[-self._depth :]))
        if found is None:
            return None
        named = found.groupdict()
        return (
            "/".join(parts[: -self._depth]),
            named["field"],
            named.get("polarization") or "",
            int(named.get("z") or 0),
        )


def group(names: Iterable[str], pattern: NamePattern, polarizations: Polarizations) -> tuple[list[StackFiles], int]:
    """Group files into stacks; also returns how many fit no stack.

    Raises
    ------
    Refused
        A polarization is named that nobody said what it is.
    """
    stacks: dict[tuple[str, str], dict[str, dict[int, list[str]]]] = {}
    strangers = 0
    for name in names:
        matched = pattern.match(name)
        if matched is None:
            strangers += 1
            continue
        folder, field, word, z = matched
        stacks.setdefault((folder, field), {}).setdefault(word, {}).setdefault(z, []).append(name)
    words: dict[str, set[str]] = {}
    for (folder, _), found in stacks.items():
        words.setdefault(folder, set()).update(found)
    states = {folder: _states(found, polarizations, pattern) for folder, found in words.items()}
    return [_planes(*place, found, states[place[0]]) for place, found in stacks.items()], strangers


def _states(words: set[str], polarizations: Polarizations, pattern: NamePattern) -> dict[str, str]:
    """Words of a folder's files and the states they stand for, in the order along C."""
    ordered = sorted(words)
    try:
        found = dict(zip(ordered, polarizations.among(ordered, ordered == [""]), strict=True))
    except ImageRefused as error:
        raise SettingRefused(f"--planes {pattern.text!r}: of a stack, {error}") from error
    order = polarizations.states or STATES
    return dict(sorted(found.items(), key=lambda pair: order.index(pair[1])))


def _planes(folder: str, field: str, found: dict[str, dict[int, list[str]]], states: dict[str, str]) -> StackFiles:
    every = sorted({z for planes in found.values() for z in planes})
    fault = next(_faults(found, states, every), "")
    names = tuple(name for word in states for z in every for name in found.get(word, {}).get(z, []))
    return StackFiles(folder, field, names, tuple(states.values()), fault)


def _faults(found: dict[str, dict[int, list[str]]], states: dict[str, str], every: list[int]) -> Iterator[str]:
    steps = {above - below for below, above in itertools.pairwise(every)}
    if len(steps) > 1:
        yield f"its planes are {', '.join(map(str, every))}: some are missing between them"
    for word, state in states.items():
        planes = found.get(word, {})
        for z in every:
            if z not in planes:
                yield f"plane {z} of {state} is missing"
            elif len(planes[z]) > 1:
                yield f"plane {z} of {state} is there twice, as {' and '.join(sorted(planes[z])[:2])}"
