"""Texts of the outside: files of other programs in whatever encoding they were saved, and names as people type them."""

from __future__ import annotations

import codecs
import unicodedata
from dataclasses import dataclass

GUESSED = "cp1252"
"""What Windows saves in western Europe and America, where a file does not say what it is."""
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Longer marks first: one of UTF-16 begins one of UTF-32."""
_UNSEEN = dict.fromkeys(map(ord, "\u200b\u2060\ufeff\u00ad"))
"""Marks between letters that nobody sees: zero-width spaces and the soft hyphen."""


class EncodingUnknown(ValueError):
    """Bytes that are no text of any encoding that can be told; the message names the line and the byte."""


@dataclass(frozen=True)
class OutsideText:
    """A text, its encoding, and the first line that is taken to be of it without proof, with its number; else 0."""

    text: str
    encoding: str
    line: int = 0

    @property
    def doubt(self) -> str:
        """Say what was guessed; empty where nothing was."""
        if not self.line:
            return ""
        there = self.text.splitlines()[self.line - 1]
        return f"line {self.line} is not UTF-8 and was read as Windows-1252: {there!r}; save as UTF-8 if that is wrong"


def decode(data: bytes) -> OutsideText:
    """Decode UTF-8, UTF-16 and UTF-32, with a byte order mark or without, and Windows-1252.

    Raises
    ------
    EncodingUnknown
        It is none of these, or lines of it are of several.
    """
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None) or _unmarked(data)
    try:
        text = data.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise EncodingUnknown(_place(data, error.start, f"are not {encoding.upper()}")) from error
        return _guess(data, error.start)
    return OutsideText(text, encoding or "utf-8")


def _unmarked(data: bytes) -> str | None:
    """Tell UTF-16 without a mark by its zeros: most pairs of bytes have one, all in the same half."""
    first, second = data[::2].count(0), data[1::2].count(0)
    if second > len(data) // 4 and not first:
        return "utf-16-le"
    return "utf-16-be" if first > len(data) // 4 and not second else None


def _guess(data: bytes, start: int) -> OutsideText:
    first = data[:start].count(b"\n")
    if b"\0" in data:
        raise EncodingUnknown(_place(data, start, "are no text"))
    for line in data.split(b"\n")[:first]:
        if not line.isascii():
            raise EncodingUnknown(_place(data, start, "are not UTF-8 as lines before are"))
    try:
        text = data.decode(GUESSED)
    except UnicodeDecodeError as error:
        raise EncodingUnknown(_place(data, error.start, "are neither UTF-8 nor Windows-1252")) from error
    return OutsideText(text, GUESSED, 1 + first)


def _place(data: bytes, at: int, what: str) -> str:
    return f"line {1 + data[:at].count(bytes([10]))}: bytes from 0x{data[at]:02x} on {what}"


def plain(name: str) -> str:
    """Write a name the one way in which names are compared: composed letters, single usual spaces, nothing unseen."""
    return " ".join(unicodedata.normalize("NFC", name.translate(_UNSEEN)).split())
