"""What is kept is whole, or made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.runtimes.cache import SUMS, is_whole, keep


class Maker:
    """Writes two files, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, folder: Path) -> None:
        self.times += 1
        (folder / "one").write_bytes(b"first")
        (folder / "two").write_bytes(b"second")


def test_what_is_whole_is_not_made_again(tmp_path: Path) -> None:
    maker, folder = Maker(), tmp_path / "kept" / "folder"
    keep(folder, maker)
    keep(folder, maker)
    assert maker.times == 1
    assert (folder / "two").read_bytes() == b"second"
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("name", ["one", "two", SUMS])
@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"other"), Path.unlink], ids=["changed", "gone"])
def test_what_somebody_changed_is_made_again(
    name: str, damage: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    maker, folder = Maker(), tmp_path / "folder"
    keep(folder, maker)
    damage(folder / name)  # type: ignore[operator]
    assert not is_whole(folder)
    keep(folder, maker)
    assert maker.times == 2
    assert is_whole(folder)
    assert "was changed by somebody" in caplog.text


def test_of_what_could_not_be_made_nothing_is_left(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_bytes(b"h")
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        keep(tmp_path / "folder", fail)
    assert not list(tmp_path.iterdir())


def test_what_another_process_made_meanwhile_is_taken(tmp_path: Path) -> None:
    folder, other = tmp_path / "folder", Maker()

    def slower(beside: Path) -> None:
        keep(folder, other)
        (beside / "one").write_bytes(b"late")

    keep(folder, slower)
    assert (folder / "one").read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [folder]
