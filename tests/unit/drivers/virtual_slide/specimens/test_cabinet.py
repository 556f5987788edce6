"""The cabinet keeps the light of specimens on disk: made once, whole or not at all, shared by processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import psutil
import pytest

from drivers.errors import SettingRefused
from drivers.virtual_slide.optics.body_light import Mount, illuminate
from drivers.virtual_slide.specimens import cabinet as cabinet_module
from drivers.virtual_slide.specimens.cabinet import MAKING, UNUSED_S, Cabinet
from drivers.virtual_slide.specimens.collection import KINDS
from drivers.virtual_slide.specimens.drawer import make_drawer
from drivers.virtual_slide.specimens.specimen import collect
from tests.support.deadlines import END_S

KIND = "emiliania"


@pytest.mark.slow
def test_what_is_kept_is_the_light_of_the_specimen(tmp_path: Path) -> None:
    specimen = collect(KINDS[KIND], 4, 2)
    drawer = Cabinet(4, Mount(), tmp_path).drawer(KIND, 2)
    light = illuminate(specimen.body, Mount())
    assert light.flipped is not None
    assert light.coherence is not None
    scale = np.array(drawer.card.scale)
    for channel, truth in enumerate((light.kept - 1, light.flipped, light.coherence.real, light.coherence.imag)):
        assert drawer.light[..., channel] * scale[channel] == pytest.approx(truth, abs=0.51 * scale[channel] + 1e-7)
    assert drawer.card.planes_um == tuple(light.planes_um)


def test_a_specimen_is_made_once_and_kept(tmp_path: Path) -> None:
    first = Cabinet(1, Mount(), tmp_path)
    light = first.drawer(KIND, 0).light
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    again = Cabinet(1, Mount(), tmp_path)
    assert np.array_equal(again.drawer(KIND, 0).light, light)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == made
    assert again.missing([KIND]) == [(KIND, variant) for variant in range(1, KINDS[KIND].variants)]


@pytest.mark.slow
def test_all_cores_make_what_is_missing_and_tell_how_far_they_are(tmp_path: Path) -> None:
    cabinet, told = Cabinet(1, Mount(), tmp_path), list[tuple[int, int]]()
    cabinet.drawer(KIND, 3)
    cabinet.fill([KIND], lambda done, total: told.append((done, total)), workers=2)
    missing = KINDS[KIND].variants - 1
    assert told == [(done, missing) for done in range(missing + 1)]
    assert cabinet.missing([KIND]) == []
    alone = make_drawer(collect(KINDS[KIND], 1, 5), Mount())
    assert np.array_equal(cabinet.drawer(KIND, 5).light, alone.light)
    told.clear()
    cabinet.fill([KIND], lambda done, total: told.append((done, total)))
    assert told == []


@pytest.mark.slow
def test_an_interruption_ends_the_workers_at_once_and_keeps_what_is_made(tmp_path: Path) -> None:
    def report(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    cabinet = Cabinet(1, Mount(), tmp_path)
    kinds = [KIND, "coscinodiscus"]
    with pytest.raises(KeyboardInterrupt):
        cabinet.fill(kinds, report, workers=1)
    assert active_children() == []
    every = sum(KINDS[kind].variants for kind in kinds)
    assert every - 2 <= len(cabinet.missing(kinds)) <= every - 1


@pytest.mark.slow
def test_workers_do_not_outlive_who_sent_for_them(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from drivers.virtual_slide.specimens.cabinet import Cabinet, Mount;"
        f"Cabinet(1, Mount(), Path({str(tmp_path)!r})).fill(['coscinodiscus'], lambda *_: None, workers=1)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        while not list(tmp_path.rglob(f"{MAKING}*")):
            assert process.poll() is None
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    _, alive = psutil.wait_procs(workers, timeout=END_S)
    assert workers
    assert alive == []


@pytest.mark.parametrize(
    "other", [(2, Mount()), (1, Mount(medium_index=1.6)), (1, Mount(condenser_na=0.7)), (1, Mount(wavelength_um=0.53))]
)
def test_another_collection_or_mount_has_a_place_of_its_own(tmp_path: Path, other: tuple[int, Mount]) -> None:
    assert Cabinet(*other, tmp_path).folder != Cabinet(1, Mount(), tmp_path).folder


def test_a_drawer_that_was_being_made_when_its_maker_died_is_made_again(tmp_path: Path) -> None:
    cabinet = Cabinet(1, Mount(), tmp_path)
    half = cabinet.folder / f"{MAKING}dead"
    half.mkdir(parents=True)
    (half / "light.npy").write_bytes(b"half")
    assert (KIND, 0) in cabinet.missing([KIND])
    assert cabinet.drawer(KIND, 0).light.any()


@pytest.mark.slow
def test_what_others_made_is_deleted_only_after_a_day_without_use(tmp_path: Path) -> None:
    cabinet = Cabinet(1, Mount(), tmp_path)
    old, young, dead = tmp_path / "0ther-1", tmp_path / "0ther-2", cabinet.folder / f"{MAKING}dead"
    for folder in (old, young, dead):
        folder.mkdir(parents=True)
        (folder / "light.npy").write_bytes(b"light")
    before = time.time() - UNUSED_S - 60
    os.utime(old, (before, before))
    os.utime(dead, (before, before))
    cabinet.fill([KIND], lambda *_: None, workers=1)
    assert not old.exists()
    assert not dead.exists()
    assert young.is_dir()
    assert cabinet.missing([KIND]) == []


USES = """
import sys
from pathlib import Path
from drivers.virtual_slide.specimens.cabinet import Cabinet, Mount
cabinet = Cabinet(2, Mount(), Path(sys.argv[1]))
cabinet.card("emiliania", 0)
print("uses", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_beyond_the_limit_what_was_used_longest_ago_is_deleted_but_nothing_that_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cabinets = [Cabinet(collection, Mount(), tmp_path) for collection in range(6)]
    used_now, oldest, older, recent, mine = cabinets[2], cabinets[1], cabinets[3], cabinets[4], cabinets[5]
    with subprocess.Popen([sys.executable, "-c", USES, str(tmp_path)], stdin=-1, stdout=-1, text=True) as user:
        assert user.stdout is not None
        assert user.stdin is not None
        assert user.stdout.readline() == "uses\n"
        for hours, cabinet in ((9, used_now), (8, oldest), (7, older), (0.5, recent)):
            cabinet.folder.mkdir(exist_ok=True)
            (cabinet.folder / "light.npy").write_bytes(bytes(100_000))
            os.utime(cabinet.folder, (time.time() - hours * 3600,) * 2)
        left = sum(one.size_bytes() for one in (used_now, older, recent))
        monkeypatch.setattr(cabinet_module, "KEPT_BYTES", left + 10_000)
        mine.fill([KIND], lambda *_: None, workers=1)
        assert [one.folder.is_dir() for one in (used_now, oldest, older, recent)] == [True, False, True, True]
        monkeypatch.setattr(cabinet_module, "KEPT_BYTES", 0)
        mine._tidy()
        assert [one.folder.is_dir() for one in (used_now, older, recent, mine)] == [True, False, True, True]
        user.kill()
    mine._tidy()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([recent.folder.name, mine.folder.name])
    assert mine.missing([KIND]) == []
    assert used_now.drawer(KIND, 0).light.any(), "made again"


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no folder")
    with pytest.raises(SettingRefused, match=r"cannot be kept in .*make the folder writable"):
        Cabinet(1, Mount(), tmp_path / "file").fill([KIND], lambda *_: None, workers=1)


def test_only_what_code_does_decides_where_its_work_is_kept() -> None:
    gist = cabinet_module._gist
    code = 'def f(x):\n    """Doc."""\n    return x + 1\n'
    assert gist(code) == gist('# why\ndef f(x):\n    """Other."""\n\n    return (x + 1)\n')
    assert gist(code) != gist(code.replace("1", "2"))
