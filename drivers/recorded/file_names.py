"""One language for the names of files: a pattern such as `{slide}/{field}_z{z}.tif` says what they tell."""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from drivers.errors import ImageRefused, SettingRefused

SIGN, NUMBER = r"[+-]?", r"\d+(?:[.,]\d+)?"
PLACES = {
    "slide": r"(?P<slide>[^/]+?)",
    "field": r"(?P<field>[^/]+?)",
    "z": rf"(?P<z>{SIGN}{NUMBER})",
    "polarization": r"(?P<polarization>[^\W_]+)",
}
BRIGHT, CROSSED = "parallel", "crossed"
STATES = (CROSSED, BRIGHT)
UNEVEN = Decimal("0.1")
"""Planes whose names have decimals lie on a regular grid where they are off by no more of its step."""


def natural(name: str) -> tuple[tuple[str | int, ...], str]:
    """Order in which people sort names: 2 before 10, capitals as small letters."""
    parts = re.split(r"([0-9]+)", name)
    return tuple(int(part) if place % 2 else part.casefold() for place, part in enumerate(parts)), name


class Channels(NamedTuple):
    """Which of some channels are taken: their states and where they lie among all, and what the others are called."""

    states: tuple[str, ...]
    places: tuple[int, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Polarizations:
    """Which states the stacks have along C, and the word that stands for each in names; none: as the names say.

    `key` is what a person calls this setting.
    """

    states: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    key: str = "--polarization"

    @classmethod
    def of(cls, given: Sequence[str], known: Sequence[str] = STATES, key: str = "--polarization") -> Polarizations:
        """Read what a person gave: `crossed`, or `crossed=LR` where names say LR.

        Parameters
        ----------
        given
            a state each.
        known
            states that there are.
        key
            what a person calls this setting.

        Raises
        ------
        SettingRefused
            A state is unknown, or given twice.
        """
        pairs = [one.partition("=") for one in given]
        states = tuple(state for state, _, _ in pairs)
        for state in states:
            if state not in known or states.count(state) > 1:
                raise SettingRefused(
                    f"{key} {state!r} must be one of {' and '.join(known)}, each given once; correct it"
                )
        return cls(states, tuple(word or state for state, _, word in pairs), key)

    def among(self, names: Sequence[str], in_order: bool) -> Channels:
        """Pick the channels that are polarizations, by their names; a channel without one is called by its number.

        Parameters
        ----------
        names
            of all channels.
        in_order
            whether their order may tell what their names do not.

        Raises
        ------
        ImageRefused
            It cannot be told which they are.
        """
        called = [name or str(number) for number, name in enumerate(names, 1)]
        known = {word.lower(): state for word, state in zip(self.words, self.states, strict=True)}
        known = known or {state: state for state in STATES}
        found = [known.get(name.lower(), "") for name in called]
        places = tuple(place for place, state in enumerate(found) if state)
        states = tuple(found[place] for place in places)
        whole = len(places) == len(called) or set(states) == set(known.values())
        if places and whole and len(set(states)) == len(states):
            return Channels(states, places, tuple(name for name, state in zip(called, found, strict=True) if not state))
        if in_order and len(self.states) == len(names) and self.words == self.states:
            return Channels(self.states, tuple(range(len(names))))
        if in_order and len(names) == 1 and not self.states:
            return Channels((BRIGHT,), (0,))
        told = f"named {', '.join(map(repr, names))}" if any(names) else "without names"
        pairs = [f"{state}={name}" for state, name in zip(self.states or STATES, called, strict=False)]
        option = self.key.startswith("--")
        such = " ".join(f"{self.key} {pair}" for pair in pairs) if option else f"{self.key}: [{', '.join(pairs)}]"
        such += ", or the other way round" if len(pairs) > 1 else ""
        raise ImageRefused(f"it has {len(names)} channels, {told}; say which are the polarizations, such as {such}")


@dataclass(frozen=True)
class StackFiles:
    """Files of one stack.

    Attributes
    ----------
    folder
        that they lie in, or above the folders that the pattern speaks of.
    slide
        what `{slide}` stands for.
    field
        what `{field}` stands for, or the name of the file.
    names
        of the files, polarization as the outer loop.
    states
        of plane files along C; none for a file that says itself what it holds.
    fault
        what is wrong with them, if anything.
    told
        what a person should know of them, a clause each.
    """

    folder: str
    slide: str
    field: str
    names: tuple[str, ...]
    states: tuple[str, ...] = ()
    fault: str = ""
    told: tuple[str, ...] = ()


class NamedFile(NamedTuple):
    """What the name of a file tells; empty where it tells nothing."""

    folder: str
    slide: str
    field: str
    polarization: str
    z: str


class NamePattern:
    """How files are named.

    `{slide}`, `{field}`, `{z}` and `{polarization}` stand for what differs, `*` for anything; with a `/` the names of
    the folders above belong to it too. Numbers of `{z}` may be negative and have decimals.

    Parameters
    ----------
    text
        the pattern.
    key
        what a person calls this setting.

    Raises
    ------
    SettingRefused
        There is neither `{field}` nor `{z}`, or a place that is unknown or stands twice.
    """

    def __init__(self, text: str, key: str = "--planes") -> None:
        self.told = f"{key} {text!r}"
        parts = [part for part in re.split(r"(\{\w*\}|\*)", unicodedata.normalize("NFC", text)) if part]
        self._names = [part[1:-1] for part in parts if part.startswith("{")]
        if not set(self._names) <= set(PLACES):
            raise SettingRefused(
                f"{self.told} may hold {', '.join(f'{{{name}}}' for name in PLACES)} and *, nothing else in braces"
            )
        if not {"field", "z"} & set(self._names) or len(set(self._names)) < len(self._names):
            raise SettingRefused(f"{self.told} must hold {{field}} or {{z}}, each once; correct it")
        self._depth = text.count("/") + 1
        expression = "".join(_expression(part, before) for before, part in itertools.pairwise(["", *parts]))
        self._expression = re.compile(expression, re.ASCII | re.IGNORECASE)

    @property
    def of_planes(self) -> bool:
        """Whether it names the files of a stack, and not files of which each is a stack."""
        return bool({"z", "polarization"} & set(self._names))

    def match(self, name: str) -> NamedFile | None:
        """Read what the name of a file tells, with the folders above it; None where it does not fit."""
        parts = unicodedata.normalize("NFC", name).split("/")
        found = self._expression.fullmatch("/".join(parts[-self._depth :]))
        if found is None:
            return None
        named = {key: value or "" for key, value in found.groupdict(default="").items()}
        above = "/".join(name.split("/")[: -self._depth])
        return NamedFile(above, *(named.get(place, "") for place in ("slide", "field", "polarization", "z")))


def _expression(part: str, before: str) -> str:
    if part == "*":
        return "[^/]*?"
    if not part.startswith("{"):
        return re.escape(part)
    # After what may end in anything a dash belongs to that, as in plane-3.
    place = PLACES[part[1:-1]]
    return place.replace(SIGN, "") if before == "*" or before.startswith("{") else place


def group(
    names: Iterable[str], pattern: NamePattern, polarizations: Polarizations, *, in_order: bool = False
) -> tuple[list[StackFiles], dict[str, str]]:
    """Group files into stacks; also returns those that fit no stack, each with why.

    Parameters
    ----------
    names
        of the files, with the folders above them.
    pattern
        how they are named.
    polarizations
        which states there are.
    in_order
        whether words of one letter, or numbers, stand for the states in their order.

    Raises
    ------
    SettingRefused
        A polarization is named that nobody said what it is.
    """
    stacks: dict[tuple[str, str, str], dict[str, _Sheaf]] = {}
    strangers: dict[str, str] = {}
    for name in names:
        named = pattern.match(name)
        if named is None:
            strangers[name] = f"its name does not fit {pattern.told}"
            continue
        words = stacks.setdefault((named.folder, named.slide, named.field), {})
        words.setdefault(named.polarization, _Sheaf()).take(named.z, name)
    if not pattern.of_planes:
        return [_single(*place, found[""]) for place, found in stacks.items()], strangers
    words_of: dict[str, set[str]] = {}
    for (folder, _, _), found in stacks.items():
        words_of.setdefault(folder, set()).update(found)
    states = {folder: _states(words, polarizations, pattern, in_order) for folder, words in words_of.items()}
    grouped = []
    for place, found in stacks.items():
        known = states[place[0]]
        for word in found.keys() - known.keys():
            why = f"{word!r} in its name is neither of the polarizations that are taken"
            strangers |= dict.fromkeys(found[word].every(), why)
        if found.keys() & known.keys():
            grouped.append(_planes(*place, found, known))
    return grouped, strangers


class _Sheaf:
    """Plane files of one polarization, by their heights."""

    def __init__(self) -> None:
        self.at: dict[Decimal, list[str]] = {}
        self.decimals = 0

    def take(self, z: str, name: str) -> None:
        height = Decimal(z.replace(",", ".") or "0")
        self.decimals = max(self.decimals, -int(height.as_tuple().exponent))
        self.at.setdefault(height, []).append(name)

    def every(self) -> Iterator[str]:
        return itertools.chain.from_iterable(self.at.values())


def _single(folder: str, slide: str, field: str, found: _Sheaf) -> StackFiles:
    names = tuple(sorted(found.every(), key=natural))
    fault = f"it is there twice, as {' and '.join(names[:2])}" if len(names) > 1 else ""
    return StackFiles(folder, slide, field, names, fault=fault)


def _states(words: set[str], polarizations: Polarizations, pattern: NamePattern, in_order: bool) -> dict[str, str]:
    """Words of a folder's files and the states they stand for, in the order along C."""
    ordered = sorted(words, key=natural)
    by_order = ordered == [""] or (in_order and all(word.isdecimal() or len(word) == 1 for word in ordered))
    try:
        states, places, _ = polarizations.among(ordered, by_order)
    except ImageRefused as error:
        raise SettingRefused(f"a stack by {pattern.told}: {error}") from error
    found = {ordered[place]: state for place, state in zip(places, states, strict=True)}
    order = polarizations.states or STATES
    return dict(sorted(found.items(), key=lambda pair: order.index(pair[1])))


def _planes(folder: str, slide: str, field: str, found: Mapping[str, _Sheaf], states: Mapping[str, str]) -> StackFiles:
    taken = {word: found.get(word, _Sheaf()) for word in states}
    every = sorted({z for planes in taken.values() for z in planes.at})
    decimals = max(planes.decimals for planes in taken.values())
    fault, told = _judged(every, decimals)
    fault = fault or next(_faults(taken, states, every), "")
    names = tuple(name for planes in taken.values() for z in every for name in planes.at.get(z, []))
    return StackFiles(folder, slide, field, names, tuple(states.values()), fault, told)


def _judged(every: Sequence[Decimal], decimals: int) -> tuple[str, tuple[str, ...]]:
    """Say which planes are missing in a regular grid; or that they lie on none, beyond the rounding of their names."""
    steps = [above - below for below, above in itertools.pairwise(every)]
    if len(set(steps)) < 2:
        return "", ()
    rounding = Decimal(1).scaleb(-decimals)
    fine = min(steps) >= 3 * rounding
    if fine and _on_a_line(every, rounding):
        return "", ()
    # Small whole numbers count planes, and are not rounded.
    usual = sorted(steps)[(len(steps) - 1) // 2] if fine else min(steps)
    usual = usual if fine or decimals else Decimal(math.gcd(*map(int, steps)))
    counts = [max(1, round(step / usual)) for step in steps]
    usual = sum(steps, Decimal(0)) / sum(counts)
    off = max(abs(step - count * usual) for step, count in zip(steps, counts, strict=True))
    allowed = max(rounding if fine else Decimal(0), UNEVEN * usual if decimals else Decimal(0))
    if max(counts) > 1 and off <= allowed:
        return f"its planes are {', '.join(map(str, every))}: some are missing between them", ()
    return "", () if _on_a_line(every, rounding) else ("its planes are not equally far apart, by their names",)


def _on_a_line(every: Sequence[Decimal], rounding: Decimal) -> bool:
    step = (every[-1] - every[0]) / (len(every) - 1)
    off = [z - every[0] - number * step for number, z in enumerate(every)]
    return max(off) - min(off) <= rounding


def _faults(found: Mapping[str, _Sheaf], states: Mapping[str, str], every: Sequence[Decimal]) -> Iterator[str]:
    for word, state in states.items():
        planes = found[word].at
        for z in every:
            if z not in planes:
                yield f"plane {z} of {state} is missing"
            elif len(planes[z]) > 1:
                yield f"plane {z} of {state} is there twice, as {' and '.join(sorted(planes[z])[:2])}"
