"""What the place of a picture says: its class, sample, mini-slide and day, by the folders and the name of its file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime

from daemon.system.errors import Refused

WORDS = ("class", "sample", "slide", "day")
_WORD = re.compile(r"\{([^{}]*)\}|(\*)|([^{}*]+)")
_EPOCH_S, _EPOCH_MS = re.compile(r"\d{10}", re.ASCII), re.compile(r"\d{13}", re.ASCII)
_JOINED = re.compile(r"(\d{4})(\d{2})(\d{2})(?:[T_ -]?\d{4,6})?Z?", re.ASCII)
_DAY_FIRST = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(?:\s.*)?", re.ASCII)
_TIME = r"(?:[T_ -]?\d{2}:?\d{2}(?::?\d{2}(?:\.\d+)?)?)?Z?"
_FORMS = rf"\d{{4}}-\d{{2}}-\d{{2}}{_TIME}", r"\d{13}", r"\d{10}", rf"\d{{8}}{_TIME}", r"\d{1,2}\.\d{1,2}\.\d{4}"
_PARTS = {"day": "|".join((*_FORMS, r"\d[\dT:Z.-]*"))}
"""What is a day comes first, so that numbers that follow it are none of it; what is no day is told."""
PLACEHOLDERS = frozenset(
    date.fromisoformat(day)
    for day in ("1899-12-30", "1899-12-31", "1900-01-01", "1904-01-01", "1970-01-01", "1980-01-01")
)
"""Days that programs write where they know none."""
EARLIEST = date(1850, 1, 1)


@dataclass(frozen=True)
class PictureOrigin:
    """What a place says; empty where it says nothing."""

    label: str = ""
    sample: str = ""
    slide: str = ""
    day: str = ""


@dataclass(frozen=True)
class NamesPattern:
    """A pattern such as `{sample}/{class}/*` for names below a folder; `*` stands for anything but a folder's end.

    Attributes
    ----------
    text
        as a person wrote it; without one, the class is the folder that a picture lies in.
    """

    text: str
    expression: re.Pattern[str]

    @classmethod
    def of(cls, text: str) -> NamesPattern:
        """Read a pattern.

        Raises
        ------
        Refused
            It names something else, or something twice.
        """
        parts, seen = [], set()
        for match in _WORD.finditer(text):
            word, anything, letters = match.groups()
            if letters is not None:
                parts.append(re.escape(letters))
            elif anything is not None:
                parts.append("[^/]*?")
            elif word in WORDS and word not in seen:
                seen.add(word)
                parts.append(f"(?P<{word}>{_PARTS.get(word, '[^/]+?')})")
            else:
                raise Refused(
                    f"--names {text!r} has {{{word}}} {'twice' if word in seen else 'in it'}; use "
                    f"{', '.join('{' + one + '}' for one in WORDS)} once each, and * for anything"
                )
        if not seen:
            raise Refused(f"--names {text!r} says nothing of a picture; write it as {{sample}}/{{class}}/*")
        return cls(text, re.compile("".join(parts), re.DOTALL))

    def place(self, name: str) -> PictureOrigin | None:
        """Say what a name (posix) tells; None where it is not of this pattern."""
        match = self.expression.fullmatch(name)
        if match is None:
            return None
        said = match.groupdict()
        folders = name.split("/")[:-1]
        label = said.get("class") or ("" if "class" in said or not folders else folders[-1])
        return PictureOrigin(label, said.get("sample", ""), said.get("slide", ""), day_of(said.get("day", "")))


def place_in_folder(name: str) -> PictureOrigin:
    """Say what a name tells where there is no pattern: the class is the folder that a picture lies in."""
    folders = name.split("/")[:-1]
    return PictureOrigin(folders[-1] if folders else "")


def day_of(text: str) -> str:
    """Write a day as YYYY-MM-DD; of a time the day in UTC; what is none, or may be two, stays as it is."""
    text = text.strip()
    found: date | None = None
    try:
        if _EPOCH_S.fullmatch(text) or _EPOCH_MS.fullmatch(text):
            found = datetime.fromtimestamp(int(text[:10]), UTC).date()
        elif (joined := _JOINED.fullmatch(text)) is not None:
            found = date(*map(int, joined.groups()))
        elif (first := _DAY_FIRST.fullmatch(text)) is not None:
            found = date(*(int(part) for part in reversed(first.groups())))
        elif text:
            at = datetime.fromisoformat(text)
            found = (at if at.tzinfo is None else at.astimezone(UTC)).date()
    except (ValueError, OverflowError):
        return text
    return text if found is None else found.isoformat()


def is_day(text: str) -> bool:
    """Whether a text is a day, written as `day_of` writes it."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def impossible(day: str, today: date) -> str:
    """Say why a day cannot be the one on which something was seen; empty for one that can, and for none."""
    if not day:
        return ""
    if not is_day(day):
        return "is no day; write it as YYYY-MM-DD"
    on = date.fromisoformat(day)
    if on in PLACEHOLDERS:
        return "is what programs write where they know no day"
    if on > today:
        return "is yet to come"
    return "is before there were pictures" if on < EARLIEST else ""
