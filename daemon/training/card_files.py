"""The card of some weights: what is known of them, beside them, as JSON for programs and as Markdown for people."""

from __future__ import annotations

from pathlib import Path

import msgspec

from daemon.system.durable_files import replacing
from daemon.system.errors import Refused


def write_card_files(card: msgspec.Struct, text: str, weights: Path) -> None:
    """Write a card beside its weights, as `.json` and `.md`."""
    as_json, as_text = _card_files(weights)
    with replacing(as_json) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n")
    with replacing(as_text) as stream:
        stream.write(text.encode())


def refuse_strangers(weights: Path) -> None:
    """Refuse to write a card over other files, such as annotations: where no weights lie, they are no card of them.

    Raises
    ------
    Refused
        There is such a file.
    """
    stranger = None if weights.exists() else next((file for file in _card_files(weights) if file.exists()), None)
    if stranger is not None:
        raise Refused(f"the card of {str(weights)!r} would replace {str(stranger)!r}; name other weights with --into")


def _card_files(weights: Path) -> tuple[Path, Path]:
    return weights.with_suffix(".json"), weights.with_suffix(".md")
