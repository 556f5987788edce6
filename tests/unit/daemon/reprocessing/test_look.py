"""`lamelle look`: what the reader sees, and what has to be said before it can be analysed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tifffile
from rich.console import Console

from daemon.reprocessing.archive import ArchiveSettings
from daemon.reprocessing.look import Seen, look, see
from daemon.system.errors import Exit, Refused

QUIET = Console(quiet=True)


def write(path: Path, *shape: int, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.zeros(shape, np.uint16), **{"photometric": "minisblack", **options})


def seen(root: Path, **settings: object) -> Seen:
    return see([root], ArchiveSettings.model_validate(settings), QUIET)


def test_what_a_file_says_and_does_not_say(tmp_path: Path) -> None:
    said = {"axes": "CZYX", "PhysicalSizeX": 0.059, "PhysicalSizeY": 0.059, "PhysicalSizeZ": 0.5}
    write(
        tmp_path / "a.ome.tif", 2, 3, 70, 80, ome=True, metadata=said | {"Channel": {"Name": ["crossed", "parallel"]}}
    )
    write(tmp_path / "b.tif", 3, 2, 70, 80, imagej=True, metadata={"axes": "ZCYX"})
    whole, silent = seen(tmp_path).stacks
    assert (whole.name, whole.shape_czyx, whole.pixel_um, whole.step_um) == ("a.ome.tif", (2, 3, 70, 80), 0.059, 0.5)
    assert (whole.polarizations, whole.needs, whole.fault) == (("crossed", "parallel"), (), "")
    assert silent.shape_czyx == (2, 3, 70, 80)
    pixel, step, states = silent.needs
    assert pixel.endswith("give --pixel-um")
    assert step.endswith("give --step-um")
    assert states.endswith("such as --polarization crossed=1 --polarization parallel=2, or the other way round")
    # Each remedy can be followed.
    given = {"pixel_um": 0.1, "step_um": 1, "polarizations": ["crossed=1", "parallel=2"]}
    assert not seen(tmp_path, **given).stacks[1].needs


def test_every_plane_of_a_stack_is_looked_at(tmp_path: Path) -> None:
    for z in range(3):
        write(tmp_path / f"f1_z{z}.tif", 70, 80)
        write(tmp_path / f"f2_z{z}.tif", 70, 80 - (z == 1))
    write(tmp_path / "f3_z0.tif", 70, 80)
    write(tmp_path / "f3_z2.tif", 70, 80)
    write(tmp_path / "f3_z3.tif", 70, 80)
    write(tmp_path / "overview.tif", 70, 80)
    found = seen(tmp_path, planes="{field}_z{z}.tif", pixel_um=0.1, step_um=0.3)
    whole, cut, holed = found.stacks
    assert (whole.shape_czyx, whole.polarizations, whole.fault) == ((1, 3, 70, 80), ("parallel",), "")
    assert "'f2_z1.tif' is 1 x 1 x 70 x 79 px" in cut.fault
    assert "its planes are 0, 2, 3: some are missing" in holed.fault
    assert list(found.left_out) == ["overview.tif"]
    assert found.counts.startswith("10 files or recordings there: 9 make 3 fields, 1 left out")


def test_it_is_printed_for_people_and_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(30):
        write(tmp_path / "core" / f"{n}.tif", 70, 80)
    assert look([tmp_path], ArchiveSettings(), Console(width=100)) is Exit.COMPLETE
    (tmp_path / "core" / "film.mp4").write_bytes(b"\0\1")
    (tmp_path / "core" / "damaged.tif").write_bytes(b"II*\0")
    assert look([tmp_path], ArchiveSettings(), Console(width=100)) is Exit.SKIPPED
    told = capsys.readouterr().out
    assert "core/0.tif ... 29.tif" in told
    assert "30 x it does not say how large its pixels are; give --pixel-um: core/0.tif, core/1.tif and 28 more" in told
    assert "1 x left out: its suffix '.mp4' is none that is read: core/film.mp4" in told
    assert "1 x cannot be read: it is damaged" in told
    assert look([tmp_path / "core"], ArchiveSettings(), Console(), as_json=True) is Exit.SKIPPED
    assert len(msgspec.json.decode(capsys.readouterr().out, type=Seen).stacks) == 31


def test_files_that_look_like_planes_are_noted_with_how_to_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("core1", "core2"):
        for field in (1, 2):
            for z in range(4):
                write(tmp_path / folder / f"f{field:03d}_z{z - 1.5}.tif", 70, 80)
    whole = seen(tmp_path)
    (note,) = whole.notes
    assert note == (
        "16 files of one plane are named alike but for a number, such as core1/f001_z0.5.tif and core1/f001_z1.5.tif; "
        'each is a field of its own: if they are planes of stacks, give --planes "f{field}_z{z}.tif"'
    )
    assert look([tmp_path], ArchiveSettings(), Console(width=100)) is Exit.COMPLETE
    assert note in capsys.readouterr().out
    followed = seen(tmp_path, planes="f{field}_z{z}.tif", pixel_um=0.1, step_um=1)
    assert [one.shape_czyx for one in followed.stacks] == [(1, 4, 70, 80)] * 4
    assert followed.notes == ()


def test_stacks_and_pictures_of_several_sizes_are_no_planes(tmp_path: Path) -> None:
    for n in range(6):
        write(tmp_path / f"stack{n}.tif", 3, 70, 80, metadata={"axes": "ZYX"}, ome=False, imagej=True)
        write(tmp_path / f"cut{n}.tif", 70, 80 + n)
    assert seen(tmp_path).notes == ()


def test_where_nothing_can_be_read_it_says_why(tmp_path: Path) -> None:
    (tmp_path / "a.lif2").write_bytes(b"\0")
    found = seen(tmp_path)
    assert not found.stacks
    assert found.left_out == {"a.lif2": "its suffix '.lif2' is none that is read"}
    with pytest.raises(Refused, match="does not exist"):
        seen(tmp_path / "nowhere")
