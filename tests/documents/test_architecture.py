"""The house is as docs/architecture.md says, and its rooms keep to their faces."""

from __future__ import annotations

import re
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

from benchmarks.rooms import PAGE, Room, between, floors_table, packages, rooms
from tests.support.places import ROOT

ROOMS = {room.name: room for room in rooms()}
MODULES_A_FOLDER = 16
CLASS = re.compile(r"(?m)^ *class (\w+)[(:]")
NAMES_OF_NOTHING = {"utils", "util", "helpers", "common", "manager", "misc"}


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """What each module imports of the house, but for type checking."""
    graph = grimp.build_graph(*packages(), exclude_type_checking_imports=True, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def room_of(module: str) -> Room:
    return ROOMS[module] if module in ROOMS else ROOMS[module.rpartition(".")[0]]


def test_the_page_shows_the_floors_of_the_contracts_and_every_room() -> None:
    page = PAGE.read_text("utf-8")
    assert between(page, "floors") == floors_table(), "make the tables anew: python -m benchmarks.rooms"
    shown = re.findall(r"(?m)^\| `([\w.]+)` \| (.*?) \|", between(page, "rooms"))
    there = [(room.name, room.purpose) for room in ROOMS.values()]
    assert shown == there, "make the tables anew: python -m benchmarks.rooms"


@pytest.mark.parametrize("room", ROOMS.values(), ids=lambda room: room.name)
def test_a_room_is_small_and_says_what_it_is_for(room: Room) -> None:
    assert len(room.modules) <= MODULES_A_FOLDER
    assert NAMES_OF_NOTHING.isdisjoint([*room.modules, room.name.rpartition(".")[2]])
    assert room.purpose.endswith("."), "its docstring begins with a sentence that says what it is for"
    assert set(room.face) <= {*room.modules}, "its docstring names modules that it does not have"


def test_other_rooms_touch_only_the_face_of_a_room(imports: dict[str, set[str]]) -> None:
    beside = defaultdict(set)
    for importer, imported in imports.items():
        for module in imported:
            room = room_of(module)
            inside = f"{importer}.".startswith(f"{room.name}.")
            if not inside and module.rpartition(".")[2] not in room.face:
                beside[module].add(importer)
    assert beside == {}, "import what their faces offer, or name these modules in the docstring of their room"


def test_no_file_imports_itself_by_way_of_others(imports: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_no_class_name_stands_for_two_things() -> None:
    named = defaultdict(set)
    for path in (path for package in packages() for path in (ROOT / package).rglob("*.py")):
        for name in CLASS.findall(path.read_text("utf-8")):
            named[name.lstrip("_")].add(path.relative_to(ROOT).as_posix())
    assert {name: places for name, places in named.items() if len(places) > 1} == {}
