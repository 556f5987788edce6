"""Nights are found in folders of folders and behind links, each once, and what cannot be looked into is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.places.nights import DEEPEST, find_nights
from daemon.system.errors import Refused
from tests.support.labelled_night import make_night
from tests.support.rights import closed, for_everybody


def test_links_are_followed_once(tmp_path: Path) -> None:
    night = make_night(tmp_path / "elsewhere" / "night")
    nights = tmp_path / "nights"
    nights.mkdir()
    (nights / "a").symlink_to(night.parent)
    (nights / "again").symlink_to(night)
    (nights / "itself").symlink_to(nights)
    (nights / "gone").symlink_to(tmp_path / "gone")
    (nights / "circle").symlink_to(nights / "circle")
    found = find_nights([nights, nights / "a", night])
    assert found.folders == (night,)
    assert found.notes == ()


def test_nights_lie_some_folders_deep(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*"abcd")
    assert len(deep.relative_to(tmp_path).parts) == DEEPEST
    night = make_night(deep)
    assert find_nights([tmp_path]).folders == (night,)
    make_night(tmp_path / "other" / "b" / "c" / "d" / "e")
    assert find_nights([tmp_path]).folders == (night,)
    with pytest.raises(Refused, match="holds no dataset of a night; name a dataset"):
        find_nights([tmp_path, tmp_path / "nowhere"])


def test_what_one_may_not_look_into_is_told() -> None:
    with for_everybody() as folder:
        night = make_night(folder / "night")
        night.chmod(0o755)
        shut = folder / "shut"
        shut.mkdir()
        with closed(shut):
            found = find_nights([folder])
            with pytest.raises(Refused, match=r"shut cannot be looked into .*; name a dataset"):
                find_nights([shut])
    assert found.folders == (night,)
    assert found.notes == (f"{shut} cannot be looked into (Permission denied)",)
