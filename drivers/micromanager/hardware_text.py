"""The text of a hardware file, in whatever encoding it was saved, and a copy of it that a core can load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from drivers.errors import SettingRefused
from drivers.texts import EncodingUnknown, OutsideText, decode


def text_of(path: Path) -> OutsideText:
    """Read the text of a hardware file.

    Raises
    ------
    SettingRefused
        It cannot be read, or nothing tells its encoding.
    """
    told = f"instrument.hardware {str(path)!r} cannot be read"
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise SettingRefused(f"{told} ({error.strerror}); name a Micro-Manager hardware file") from error
    except EncodingUnknown as error:
        raise SettingRefused(f"{told}, {error}; save it as UTF-8") from error


@contextmanager
def loadable(path: Path) -> Iterator[Path]:
    """Give the file itself where it is plain UTF-8, which is all that a core reads, else a copy that is.

    Raises
    ------
    SettingRefused
        As for `text_of`.
    """
    read = text_of(path)
    if read.encoding == "utf-8":
        yield path.resolve()
        return
    with TemporaryDirectory(prefix="lamelle-") as folder:
        copy = Path(folder) / path.name
        copy.write_text(read.text, encoding="utf-8", newline="")
        yield copy
