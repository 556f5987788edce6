"""Splits keep samples, mini-slides and days together, and what is the same picture too; a leak is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from daemon.cli.app import app
from daemon.library.build import build
from daemon.library.library import Library
from daemon.library.sources.pictures import PictureSettings
from daemon.library.sources.places import NamesPattern
from daemon.library.split import (
    SIDES,
    LibrarySplit,
    draw,
    leaks,
    notes_of,
    read_split,
    recorded_splits,
    require_no_leak,
    write_split,
)
from daemon.system.errors import DamagedFile, Refused
from tests.support.class_folders import class_folders, picture, save
from tests.support.rights import closed, for_everybody

QUIET = Console(quiet=True)


def library_of(tmp_path: Path, extra: dict[str, int] | None = None) -> Library:
    """Twenty days of two pictures a class, and pictures of others under further names."""
    source = class_folders(tmp_path / "set", {"a": 40, "b": 40})
    for name, seed in (extra or {}).items():
        save(source / name, picture(seed))
    build(tmp_path / "library", [source], PictureSettings(names=NamesPattern.of("{class}/{day}-*")), None, QUIET)
    return Library.open(tmp_path / "library")


def test_a_day_is_on_one_side_and_sides_have_their_shares(tmp_path: Path) -> None:
    library = library_of(tmp_path)
    for seed in range(5):
        split = draw(library, "day", seed, judge=0.25)
        days = {side: {library.entries[key].day for key in keys} for side, keys in split.keys.items()}
        assert not days["learn"] & days["judge"]
        assert [len(days[side]) for side in SIDES] == [15, 5]
        assert sum(map(len, split.keys.values())) == 80
        assert leaks(library, split) == []


@pytest.mark.parametrize("together", [1, 2])
def test_what_is_no_day_splits_nothing_and_as_many_samples_as_pictures_are_told(tmp_path: Path, together: int) -> None:
    source = tmp_path / "set"
    for k in range(12):
        save(source / "ab"[k % 2] / f"{k // 2 // together}-{k}.png", picture(k))

    def build_as(names: str) -> Library:
        build(tmp_path / "library", [source], PictureSettings(names=NamesPattern.of(names)), None, QUIET)
        return Library.open(tmp_path / "library")

    with pytest.raises(Refused, match=r"12 specimens of 12 have a day that is none, such as '0' of set/a/0-0\.png"):
        draw(build_as("{class}/{day}-*"), "day", 1)
    library = build_as("{class}/{sample}-*" if together > 1 else "{class}/{sample}.png")
    told = [one for one in notes_of(library, draw(library, "sample", 1)) if "nearly as many samples" in one]
    assert len(told) == (1 if together == 1 else 0)


def test_a_seed_draws_the_same_split_and_another_another(tmp_path: Path) -> None:
    library = library_of(tmp_path)
    assert draw(library, "day", 1) == draw(Library.open(tmp_path / "library"), "day", 1)
    assert len({draw(library, "day", seed).sha256 for seed in range(6)}) == 6


def test_the_same_picture_on_two_sides_does_not_learn_and_judge(tmp_path: Path) -> None:
    # The picture of day 1 is seen again on every day after the 20th; that of day 2 under another name.
    again = {f"a/2016-05-{day:02d}-x.png": 0 for day in range(1, 21)}
    library = library_of(tmp_path, again | {"b/2016-05-21-y.png": 2})
    for seed in range(4):
        split = draw(library, "day", seed)
        sides = {
            side
            for side, keys in split.keys.items()
            if any(key.endswith(("-x.png", "a/2016-04-01-0.png")) for key in keys)
        }
        assert len(sides) == 1
        for key in ("set/b/2016-05-21-y.png", "set/a/2016-04-02-2.png"):
            assert split.left_out[key] == "is one picture that is called a and b"
        assert leaks(library, split) == []
        assert any("on no side" in note for note in notes_of(library, split))


def test_near_duplicates_on_two_sides_are_a_leak(tmp_path: Path) -> None:
    noisy = np.clip(picture(0).astype(int) + np.random.default_rng(1).integers(-3, 4, (40, 50)), 0, 255)
    save(tmp_path / "set" / "a" / "2016-05-01-n.png", noisy.astype(np.uint8))
    library = library_of(tmp_path)
    split = draw(library, "day", 1)
    keys = dict(split.keys)
    both = "set/a/2016-04-01-0.png", "set/a/2016-05-01-n.png"
    plain = {side: tuple(key for key in own if key not in both) for side, own in keys.items()}
    bad = msgspec.structs.replace(
        split, keys=plain | {"learn": (*plain["learn"], both[0]), "judge": (*plain["judge"], both[1])}
    )
    assert any("or nearly so, is on 2 sides" in told for told in leaks(library, bad))
    with pytest.raises(Refused, match="leaks"):
        require_no_leak(library, bad)


def test_a_day_on_two_sides_and_a_library_that_changed_are_leaks(tmp_path: Path) -> None:
    library = library_of(tmp_path)
    split = draw(library, "day", 1)
    one = split.keys["judge"][0]
    moved = split.keys | {"learn": (*split.keys["learn"], one), "judge": split.keys["judge"][1:]}
    day = library.entries[one].day
    with pytest.raises(Refused, match=f"day '{day}' is to judge and to learn"):
        require_no_leak(library, msgspec.structs.replace(split, keys=moved))
    (tmp_path / "set" / one.removeprefix("set/")).unlink()
    build(tmp_path / "library", [tmp_path / "set"], PictureSettings(), None, QUIET)
    with pytest.raises(Refused, match=r"no longer in the library|is to"):
        require_no_leak(Library.open(tmp_path / "library"), split)


def test_what_cannot_be_split_is_refused(tmp_path: Path) -> None:
    library = library_of(tmp_path)
    with pytest.raises(Refused, match="80 specimens of 80 have no sample, such as set/a/"):
        draw(library, "sample", 1)
    source = class_folders(tmp_path / "few", {"a": 2})
    build(tmp_path / "other", [source], PictureSettings(names=NamesPattern.of("{class}/{day}-*")), None, QUIET)
    with pytest.raises(Refused, match="has 1 day, too few"):
        draw(Library.open(tmp_path / "other"), "day", 1)


def test_a_split_is_recorded_and_read_back(tmp_path: Path) -> None:
    library = library_of(tmp_path)
    split = draw(library, "day", 3)
    path = write_split(library.folder, split)
    assert read_split(path) == split
    assert path.stem.endswith(split.sha256[:8])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DamagedFile, match="is no split"):
        read_split(path)
    with pytest.raises(Refused, match="cannot be read"):
        read_split(tmp_path / "none.json")


def test_split_and_show_as_a_person_uses_them(tmp_path: Path) -> None:
    folder = str(library_of(tmp_path).folder)
    run = CliRunner()
    drawn = run.invoke(app, ["library", "split", folder, "--by", "day", "--seed", "4"])
    assert drawn.exit_code == 0, drawn.output
    assert "judge: 16 specimens of 4 days" in drawn.output
    shown = run.invoke(app, ["library", "show", folder])
    assert "no leak" in shown.output
    listed = run.invoke(app, ["library", "show", folder, "--taxon", "B"])
    assert listed.output.splitlines()[0] == "set/b/2016-04-01-0.png"
    assert len(listed.output.splitlines()) == 40
    recorded = msgspec.json.decode(next((Path(folder) / "splits").glob("*.json")).read_bytes(), type=LibrarySplit)
    assert recorded.seed == 4


@pytest.mark.skipif(sys.platform == "win32", reason="folders are closed by their mode")
def test_splits_that_may_not_be_looked_at_are_not_taken_for_none() -> None:
    with for_everybody() as place:
        library = library_of(place)
        split = draw(library, "day", 1, judge=0.25)
        write_split(library.folder, split)
        assert recorded_splits(library.folder) == {split.name: split}
        with closed(library.folder / "splits"), pytest.raises(PermissionError):
            recorded_splits(library.folder)
