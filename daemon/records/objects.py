"""Which object is meant: the key that an object has from its first day on, and the one text that it is written as."""

from __future__ import annotations

import re

import msgspec

_TEXT = re.compile(r"(.+)/slide-([1-9]\d{0,3})/field-(\d{4,6})/attempt-([1-9]\d{0,3})/(\d{3,9})", re.ASCII | re.DOTALL)


class ObjectName(msgspec.Struct, frozen=True, order=True):
    """Night, mini-slide, field, attempt at the field, and number of an object in it.

    Measuring again, copying and renaming folders leave it as it is.
    """

    night: str
    slide: int
    field: int
    attempt: int
    number: int

    def __str__(self) -> str:
        place = f"slide-{self.slide}/field-{self.field:04d}/attempt-{self.attempt}"
        return f"{self.night}/{place}/{self.number:03d}"

    @classmethod
    def parse(cls, text: str) -> ObjectName:
        """Read what `str` writes; the name of a night may hold anything.

        Raises
        ------
        ValueError
            It is not the name of an object.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            example = cls("NIGHT", 3, 17, 1, 4)
            raise ValueError(f"{text!r} is not the name of an object; it must look like {str(example)!r}")
        night, *numbers = match.groups()
        return cls(night, *map(int, numbers))
