"""Texts of other programs: read as what they are, or refused with the line where that cannot be told."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.texts import EncodingUnknown, decode, plain

FRENCH = "position,sample\r\n1,Carotte n° 3 œ forêt\r\n"


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"],
)
def test_a_text_is_read_in_the_encoding_it_was_saved_in(encoding: str) -> None:
    read = decode(FRENCH.encode(encoding))
    assert read.text == FRENCH
    assert bool(read.doubt) == (encoding == "cp1252")


def test_a_guess_is_told_with_its_line() -> None:
    assert decode(FRENCH.encode("cp1252")).doubt == (
        "line 2 is not UTF-8 and was read as Windows-1252: '1,Carotte n° 3 œ forêt'; save as UTF-8 if that is wrong"
    )


@pytest.mark.parametrize(
    ("data", "told"),
    [
        # Mac OS Roman has è where Windows-1252 has nothing.
        ("a\nforèt\n".encode("mac-roman"), "line 2: bytes from 0x8f on are neither UTF-8 nor Windows-1252"),
        ("é\n".encode() + "b\né\n".encode("cp1252"), "line 3: bytes from 0xe9 on are not UTF-8 as lines before are"),
        ("é\né\n".encode("utf-16")[:-1], "line 2: bytes from 0x0a on are not UTF-16"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "line 1: bytes from 0x89 on are no text"),
    ],
)
def test_what_cannot_be_told_is_refused_with_its_line(data: bytes, told: str) -> None:
    with pytest.raises(EncodingUnknown) as refused:
        decode(data)
    assert str(refused.value) == told


@given(st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"])))
def test_utf_8_is_never_guessed_at(text: str) -> None:
    assert decode(text.encode()).text == text
    assert decode(text.encode("utf-8-sig")).text == text


@pytest.mark.parametrize(
    "name",
    [
        unicodedata.normalize("NFD", "Målsjö 3"),
        "Målsjö\u00a03",
        "Målsjö\u20093",
        "Målsjö\u202f 3",
        " Målsjö  3 ",
        "Mål\u00adsjö\u200b 3\ufeff",
    ],
)
def test_names_that_look_the_same_are_the_same(name: str) -> None:
    assert plain(name) == "Målsjö 3"


def test_names_that_look_different_stay_different() -> None:
    assert len({plain(name) for name in ("MD-1", "MD-01", "md-1", "MD_1", "MD 1", "MD1")}) == 6
