"""What trains and what judges: whole sources apart, copies on one side, written down beside the weights."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from inference.annotations.stacks import AnnotatedStack, read_stack
from inference.errors import AnnotationError
from inference.wording import counted

SUFFIX = ".split.json"
LEARNING, JUDGING, KEPT = "train", "valid", "test"
"""What a subset is for, by the words that CVAT, Roboflow and COCO name theirs by."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A picture on one side: its file's name, the source it is of, and the sha256 of its shape and pixels."""

    file_name: str
    source: str
    sha256: str


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """Which pictures trained some weights, and which were kept back to judge them.

    `seed` is None where a person said what judges.
    """

    seed: int | None
    trained: tuple[Member, ...]
    held_out: tuple[Member, ...]


class Parts(NamedTuple):
    """The two sides of a training's pictures, and what is written down of them."""

    learning: list[AnnotatedStack]
    judging: list[AnnotatedStack]
    split: Split


def members(stacks: Sequence[AnnotatedStack], report: Callable[[int, int], None]) -> list[Member]:
    """Look at every picture, so that copies are known whatever their names are.

    Raises
    ------
    AnnotationError
        A picture cannot be read.
    """
    found = []
    for number, one in enumerate(stacks, start=1):
        pixels = read_stack(one)
        digest = hashlib.sha256(repr(pixels.shape).encode())
        digest.update(np.ascontiguousarray(pixels).data)
        found.append(Member(file_name=one.picture.place, source=one.picture.source, sha256=digest.hexdigest()))
        report(number, len(stacks))
    return found


def draw(stacks: Sequence[AnnotatedStack], known: Sequence[Member], held_out: float, seed: int) -> Parts:
    """Draw what judges: whole sources (slides, images before their augmentation), with all that share a picture.

    Parameters
    ----------
    known
        as `members` gives them.
    held_out
        share of the sources that only judge.

    Raises
    ------
    AnnotationError
        There are fewer than two sources, so nothing can be held out.
    """
    groups = _groups(known)
    if len(groups) < 2:
        raise AnnotationError(
            f"{len(groups)} slide or source picture is annotated, but one must be held out to judge; annotate two or "
            "more, or name what judges with --judge-by"
        )
    count = min(max(1, round(held_out * len(groups))), len(groups) - 1)
    chosen = np.random.default_rng(seed).choice(len(groups), count, replace=False)
    judging = {source for k in chosen for source in groups[k]}
    sides = [one.source in judging for one in known]
    return _parts(stacks, known, sides, seed)


class Named(NamedTuple):
    """What the subsets of a data set say is for learning, for judging, and for neither."""

    learning: list[AnnotatedStack]
    judging: list[AnnotatedStack]
    kept: list[AnnotatedStack]


def as_named(stacks: Sequence[AnnotatedStack]) -> Named | None:
    """Sort pictures as the names of their subsets say; None where these do not name both what learns and what judges.

    Pictures of subsets whose names say nothing learn.
    """
    sides: defaultdict[str, list[AnnotatedStack]] = defaultdict(list)
    for stack in stacks:
        sides[role(stack.picture.subset)].append(stack)
    if not sides[LEARNING] or not sides[JUDGING]:
        return None
    return Named([*sides[LEARNING], *sides[""]], sides[JUDGING], sides[KEPT])


def role(subset: str) -> str:
    """Say what a subset is for: `train`, `valid` or `test`; empty where its name does not say."""
    for part in subset.casefold().split("/"):
        word = re.split(r"[^a-z]", part, maxsplit=1)[0]
        if word in ("train", "training"):
            return LEARNING
        if word in ("val", "valid", "validation"):
            return JUDGING
        if word in ("test", "testing"):
            return KEPT
    return ""


def given(
    learning: Sequence[AnnotatedStack],
    judging: Sequence[AnnotatedStack],
    known: Sequence[Member],
) -> Parts:
    """Take what a person says judges.

    Parameters
    ----------
    known
        of what trains, then of what judges.

    Raises
    ------
    AnnotationError
        A picture, or a copy of it, is on both sides.
    """
    sides = [False] * len(learning) + [True] * len(judging)
    parts = _parts([*learning, *judging], known, sides, None)
    leaks = _shared(parts.split.trained, parts.split.held_out)
    if leaks:
        ours, theirs = leaks[0]
        raise AnnotationError(
            counted(len(leaks), "picture that trains also judges", "pictures that train also judge")
            + f": {theirs.file_name!r} is {ours.file_name!r}, or a copy of the same picture; take them out on one side"
        )
    return parts


def unseen(known: Sequence[Member], split: Split | None) -> list[bool]:
    """Tell of each picture whether neither it nor a copy trained some weights, as far as a split knows it."""
    leaks = set() if split is None else {ours for ours, _ in _shared(known, split.trained)}
    return [member not in leaks for member in known]


def copies(known: Sequence[Member]) -> list[str]:
    """Tell how many pictures are copies of others, a sentence at most."""
    first: dict[str, Member] = {}
    pairs = [(one, other) for one in known if (other := first.setdefault(one.sha256, one)) is not one]
    if not pairs:
        return []
    one, other = pairs[0]
    where = "is in two places" if one.file_name == other.file_name else f"is {other.file_name!r}"
    such = f"such as {one.file_name!r}, which {where}"
    told = counted(len(pairs), "picture is", "pictures are")
    return [f"{told} there more than once, {such}; take one of each out, if their boxes differ"]


def split_file(weights: Path) -> Path:
    """Where the split of some weights is written down."""
    return weights.with_suffix(SUFFIX)


def read_split(weights: Path) -> Split | None:
    """Read what trained some weights; None where nothing is written down beside them.

    Raises
    ------
    AnnotationError
        What is written there is no split.
    """
    path = split_file(weights)
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Split)
    except msgspec.DecodeError as error:
        raise AnnotationError(
            f"{str(path)!r} is not the split of a training ({error}); take it away or restore it"
        ) from error


def _parts(
    stacks: Sequence[AnnotatedStack], known: Sequence[Member], judges: Sequence[bool], seed: int | None
) -> Parts:
    return Parts(
        [one for one, side in zip(stacks, judges, strict=True) if not side],
        [one for one, side in zip(stacks, judges, strict=True) if side],
        Split(
            seed=seed,
            trained=tuple(one for one, side in zip(known, judges, strict=True) if not side),
            held_out=tuple(one for one, side in zip(known, judges, strict=True) if side),
        ),
    )


def _shared(ones: Sequence[Member], others: Sequence[Member]) -> list[tuple[Member, Member]]:
    """Each of the first that is a copy of one of the second, or of the same source, with that one.

    Two files of one name in two places are no copies for that; a source is more than a file's name.
    """
    by_sha256 = {other.sha256: other for other in others}
    by_source = {other.source: other for other in others if other.source != other.file_name}
    found = [(one, by_sha256.get(one.sha256) or by_source.get(one.source)) for one in ones]
    return [(one, other) for one, other in found if other is not None]


def _groups(known: Sequence[Member]) -> list[list[str]]:
    """Sort sources into groups; those that share a picture are in one."""
    group_of = {one.source: {one.source} for one in known}
    holding: defaultdict[str, set[str]] = defaultdict(set)
    for one in known:
        holding[one.sha256].add(one.source)
    for together in holding.values():
        joined = set[str]().union(*(group_of[source] for source in together))
        for source in joined:
            group_of[source] = joined
    return sorted({id(group): sorted(group) for group in group_of.values()}.values())
