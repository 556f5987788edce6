"""Names that planes have, and how they are said; names that single images have, and nothing said."""

from __future__ import annotations

import itertools

import pytest

from drivers.recorded.file_names import NamePattern, Polarizations, group
from drivers.recorded.likely_planes import likely_planes

FIELDS, PLANES, STATES = ("007", "008"), range(1, 6), ("LR", "LL")


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("f{field}_z{z}.tif", "f{field}_z{z}.tif"),
        ("f{field}_z-{z}.tif", "f{field}_z{z}.tif"),
        ("z{z}_f{field}.png", "z{z}_f{field}.png"),
        ("20260314_{field}_{z}.jpg", "20260314_{field}_{z}.jpg"),
        ("Slice {z} of {field}.tif", "Slice {z} of {field}.tif"),
        ("site{field}_{field}-z{z},5.tif", "site{field}-z{z}.tif"),
        ("field{field}_z{z}_{state}.tif", "field{field}_z{z}_{polarization}.tif"),
    ],
)
def test_planes_are_known_by_their_names(form: str, pattern: str) -> None:
    every = itertools.product(FIELDS, STATES, PLANES)
    names = list(dict.fromkeys(form.format(field=field, state=state, z=z) for field, state, z in every))
    (likely,) = likely_planes(names)
    assert likely.pattern == pattern
    assert sorted(likely.names) == sorted(names)
    states = Polarizations.of(["crossed=LR", "parallel=LL"] if "state" in form else [])
    stacks, strangers = group(names, NamePattern(likely.pattern), states)
    assert not strangers
    assert [stack.fault for stack in stacks] == ["", ""]
    assert {len(stack.names) for stack in stacks} == {len(names) // 2}


def test_a_folder_may_be_one_stack() -> None:
    (likely,) = likely_planes([f"img_{n:04d}.tif" for n in range(200)])
    assert (likely.pattern, len(likely.names)) == ("img_{z}.tif", 200)


@pytest.mark.parametrize(
    "names",
    [
        [],
        [f"f1_z{z}.tif" for z in range(4)],
        [f"core{n}_{n}.tif" for n in range(20)],
        [f"2026031{n}_{n}{n}.tif" for n in range(9)],
        ["a.tif", "b.tif", "c.tif", "d.tif", "e.tif"],
        [f"{{{n}}}.tif" for n in range(9)],
    ],
    ids=["none", "few", "two numbers each", "days", "no number", "braces"],
)
def test_names_of_single_images_say_nothing(names: list[str]) -> None:
    assert likely_planes(names) == []
