"""The page of an evaluation stands on its own and shows what was wrong."""

import base64
import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from daemon.cli.app import app
from inference.annotations.coco import AnnotatedImage, Annotation, AnnotationFile, Category, to_json

EVIL = "<script>alert(1)</script>"


class Parsed(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href") and value]


@pytest.fixture
def annotated(tmp_path: Path) -> Path:
    """An empty picture, in which whatever is annotated must be missed; one box lies outside it."""
    name = f"{EVIL[8:16]}.png"
    cv2.imwrite(str(tmp_path / name), np.full((200, 200), 120, np.uint8))
    boxes = [(20, 20, 60, 60), (190, 10, 40, 40)]
    dataset = AnnotationFile(
        images=(AnnotatedImage(id=1, file_name=name, width=200, height=200),),
        categories=(Category(id=1, name="diatom"), Category(id=2, name=EVIL)),
        annotations=tuple(
            Annotation(id=k, image_id=1, category_id=k, bbox=box, area=1600) for k, box in enumerate(boxes, start=1)
        ),
    )
    (tmp_path / "coco.json").write_bytes(to_json(dataset))
    return tmp_path


def test_a_page_shows_misses_and_problems_and_needs_nothing_else(annotated: Path, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "page.html"
    done = CliRunner().invoke(app, ["evaluate", str(annotated), "--one-class", "--page", str(page)])
    assert done.exit_code == 0, done.output
    text = page.read_text(encoding="utf-8")
    parsed = Parsed(text)
    assert "script" not in parsed.tags
    assert EVIL not in text
    assert all(source.startswith("data:image/png;base64,") for source in parsed.sources)
    assert len(parsed.sources) == 2
    tile = Image.open(io.BytesIO(base64.b64decode(parsed.sources[0].split(",")[1])))
    assert tile.size == (200, 200)
    assert re.search(r"annotation 2 of .* lies in part outside", text)
    assert "Largest objects that were missed" in text


def test_a_picture_that_is_there_twice_is_told_on_the_terminal_and_on_the_page(annotated: Path, tmp_path: Path) -> None:
    page, again = tmp_path / "pages" / "page.html", tmp_path / "again"
    again.mkdir()
    for file in annotated.glob("*.*"):
        shutil.copy(file, again)
    done = CliRunner().invoke(app, ["evaluate", str(annotated), str(again), "--one-class", "--page", str(page)])
    assert done.exit_code == 0, done.output
    told = "1 picture is there more than once, such as"
    assert told in done.stderr
    assert told in page.read_text(encoding="utf-8")
