"""An entry of a library: one labelled specimen, where it lies, and what it was when it was taken in."""

from __future__ import annotations

from typing import Literal

import msgspec

Origin = Literal["picture", "object", "emulated"]
"""Where a specimen comes from: a file of its own, a dataset of a night, or the virtual slide."""
LOOK_PX = 24
"""Side of the small picture by which near duplicates are told."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One labelled specimen.

    Attributes
    ----------
    key
        unique in the library: SOURCE/NAME of a picture, NIGHT/slide-S/field-FFFF/attempt-A/NNN of an object.
    source
        what a person calls the folder that it came from; `root` is where that lay (posix, absolute), `near` the same
        as seen from the library, so that both can be moved together.
    name
        file below the root (posix), and `stack` the stack in it, where there are several.
    size
        of the file, bytes; by it and by
    modified_ns
        a change is seen without reading the file.
    sample
        where it is from, as far as anybody said;
    slide
        on which mini-slide it lay,
    day
        when it was seen: YYYY-MM-DD, or the text that is none.
    label
        what it was called there, and `taxon` the identifier that this is; empty where the taxonomy knows none.
    sha256
        hex, of shape and pixels.
    look
        the small picture, uint8, `LOOK_PX` squared, its greatest value white.
    shape_czyx
        of its pixels.
    states
        along C; `channels` are the places that they have in the file.
    low_dn
        least pixel.
    high_dn
        greatest pixel; `bits` of the camera, where the file says so.
    said_um
        size of a pixel, where the file says so.
    pixel_um
        size of a pixel; it, `step_um`, `focus_plane`, `length_um` and `width_um` are as of a specimen that a
        classifier looks at, None where nobody knows.
    """

    key: str
    origin: Origin
    source: str
    root: str
    near: str = ""
    name: str
    stack: str = ""
    size: int = 0
    modified_ns: int = 0
    sample: str = ""
    slide: str = ""
    day: str = ""
    label: str
    taxon: str
    sha256: str
    look: bytes
    shape_czyx: tuple[int, int, int, int]
    states: tuple[str, ...]
    channels: tuple[int, ...] = ()
    low_dn: int
    high_dn: int
    bits: int | None = None
    said_um: float | None = None
    pixel_um: float | None = None
    step_um: float | None = None
    focus_plane: float | None = None
    length_um: float | None = None
    width_um: float | None = None

    @property
    def constant(self) -> bool:
        """Whether all of its pixels are alike: there is nothing to see."""
        return self.low_dn == self.high_dn
