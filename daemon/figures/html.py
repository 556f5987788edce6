"""Pages that need nothing but a browser: one HTML file each, made from the templates of this package."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from daemon.system.durable_files import make_folder, replacing


def write_html(into: Path, template: str, **values: object) -> None:
    """Write a page, whole or not at all.

    Parameters
    ----------
    template
        name of one in `templates`.
    **values
        what it shows; everything is escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("daemon.figures", "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"figure": figure, "commands": commands}
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    page = environment.get_template(template).render(made=made, **values)
    make_folder(into.parent)
    with replacing(into) as stream:
        stream.write(page.encode())


def commands(text: str) -> Markup:
    """Write a sentence for a page: what stands in it between backticks is to be typed."""
    parts = [escape(part) for part in text.split("`")]
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in enumerate(parts))


def figure(value: float | None) -> str:
    """Three decimals, or a dash for what nobody knows."""
    return "-" if value is None else f"{value:.3f}"


def polyline(x: Sequence[float], y: Sequence[float]) -> str:
    """Points of an SVG polyline in a square of 100, y upwards, from values between 0 and 1."""
    return " ".join(f"{100 * a:.2f},{100 - 100 * b:.2f}" for a, b in zip(x, y, strict=True))
