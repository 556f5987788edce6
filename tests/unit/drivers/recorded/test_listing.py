"""What lies in folders: images, and by name and reason everything that is not read; nothing vanishes."""

import os
import socket
import sys
from pathlib import Path

import pytest

from drivers.recorded.listing import Listing, list_images, printable
from tests.support.rights import closed, for_everybody

PNG = b"\x89PNG\r\n\x1a\n"


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)


def listed(root: Path, but_not: Path | None = None) -> Listing:
    return list_images(root, [root], but_not)


def test_images_are_listed_in_the_order_of_people_and_what_is_beside_them_is_counted(tmp_path: Path) -> None:
    touch(tmp_path, "b/10.png", "b/9.PNG", "a.jpg", "a.tif", "into/slide-1/x.tif")
    touch(
        tmp_path, "b/metadata.txt", "b/9.xml", "b/boxes.json", "b/Thumbs.db", "notes.docx", ".DS_Store", ".cache/x.png"
    )
    touch(tmp_path, "b/film.mp4", "b/scan.czi.zip", "b/scan.ozx", "b/plane")
    (tmp_path / "b" / "raw.dat").write_bytes(b"II*\0....")
    (tmp_path / "LISEZ-MOI").write_bytes(b"." * 511 + "\u00e9t\u00e9".encode())
    (tmp_path / "b" / "cut").write_bytes(b"\x80\x81")
    found = listed(tmp_path, tmp_path / "into")
    assert list(found.sizes) == ["a.jpg", "a.tif", "b/9.PNG", "b/10.png"]
    assert found.sizes["a.jpg"] == len(PNG)
    assert found.beside == {"sidecars": 3, "thumbnails": 1, "documents": 2, "hidden": 2}
    assert found.left_out == {
        "b/cut": "it has no suffix",
        "b/film.mp4": "its suffix '.mp4' is none that is read, but it is a PNG; rename it to end in .png",
        "b/plane": "it has no suffix, but it is a PNG; rename it to end in .png",
        "b/raw.dat": "its suffix '.dat' is none that is read, but it is a TIFF; rename it to end in .tiff",
        "b/scan.czi.zip": "it is packed (.zip); unpack it",
        "b/scan.ozx": "it is packed (.ozx); unpack it",
    }


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_linked_folders_are_followed_once_and_circles_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "archive/z-real/1.png", "archive/z-real/deep/2.png", "elsewhere/3.png", "elsewhere/4.png")
    archive = tmp_path / "archive"
    (archive / "a-link").symlink_to(archive / "z-real")
    (archive / "other").symlink_to(tmp_path / "elsewhere")
    (archive / "other again").symlink_to(tmp_path / "elsewhere")
    (archive / "z-real" / "up").symlink_to(archive)
    (archive / "z-real" / "same.png").symlink_to(archive / "z-real" / "1.png")
    (archive / "gone").symlink_to(tmp_path / "nowhere")
    (archive / "round").symlink_to(archive / "round")
    found = listed(archive)
    assert list(found.sizes) == ["other/3.png", "other/4.png", "z-real/1.png", "z-real/deep/2.png"]
    once_more = "a link leads to it, and it is read already"
    assert found.left_out == {
        "a-link": once_more,
        "gone": "it is a link that leads nowhere",
        "other again": once_more,
        "round": "it is a link that leads round in a circle",
        "z-real/same.png": once_more,
        "z-real/up": once_more,
    }


def test_an_overlap_of_places_is_listed_once(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "a/b/2.png")
    found = list_images(tmp_path, [tmp_path / "a" / "b", tmp_path, tmp_path / "a" / "1.png"], None)
    assert list(found.sizes) == ["a/1.png", "a/b/2.png"]
    assert not found.left_out


@pytest.mark.parametrize("named", [".", "a", "abc"])
def test_a_folder_that_is_named_twice_is_listed_once(tmp_path: Path, named: str) -> None:
    touch(tmp_path / named, "1.png", "metadata.txt")
    found = list_images(tmp_path, [tmp_path / named] * 2, None)
    assert (len(found.sizes), found.beside, found.left_out) == (1, {"sidecars": 1}, {})


def test_a_file_that_goes_while_its_folder_is_listed_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "2.png", "3.png")
    found = list_images(tmp_path, [tmp_path], None, lambda _: (tmp_path / "2.png").unlink(missing_ok=True))
    assert list(found.sizes) == ["1.png", "3.png"]
    assert list(found.left_out) == ["2.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="rights of POSIX")
def test_a_folder_that_cannot_be_read_is_told() -> None:
    with for_everybody() as root:
        touch(root, "open/1.png", "closed/2.png")
        with closed(root / "closed"):
            found = listed(root)
    assert list(found.sizes) == ["open/1.png"]
    assert found.left_out == {"closed": "the folder cannot be read (Permission denied)"}


@pytest.mark.skipif(sys.platform == "win32", reason="such names cannot be made")
def test_names_that_are_no_text_and_things_that_are_no_files_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "good \u00e9\u00a0\u200b.png", "line\nbreak.png")
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(PNG)
    (tmp_path / os.fsdecode(b"\xff")).mkdir()
    touch(tmp_path / os.fsdecode(b"\xff"), "in.png")
    os.mkfifo(tmp_path / "pipe.tif")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(tmp_path)  # the whole path may be longer than a socket's may be
        listening.bind("s.png")
        found = listed(tmp_path)
    assert list(found.sizes) == ["good \u00e9\u00a0\u200b.png"]
    why = "its name holds bytes that are not text, or a line break or the like; rename it"
    neither = "it is neither a file nor a folder"
    assert found.left_out == {
        "\\xff": why, "caf\\xe9.png": why, "line\\nbreak.png": why, "pipe.tif": neither, "s.png": neither,
    }  # fmt: skip


def test_names_are_written_so_that_they_can_be_stored() -> None:
    assert printable("a\u00e4 \x1b[2J\udce9") == "a\u00e4 \\x1b[2J\\xe9"
