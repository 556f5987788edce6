"""A report as a PDF: A4, numbered pages, the same tables, charts and pictures as the page on the screen."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fpdf import FPDF
from fpdf.enums import TableBordersLayout, XPos, YPos
from fpdf.fonts import FontFace
from PIL import Image

from daemon.figures import palette
from daemon.figures.pixels import FONTS
from daemon.report import words as words
from daemon.report.charts import Chart
from daemon.report.numbers import NightNumbers
from daemon.report.objects import OF_A_TAXON
from daemon.report.words import NightReport, Table
from daemon.system.durable_files import make_folder, replacing
from inference.wording import MICROMETRE

FONT = "DejaVu"
"""It knows more letters than those of PDF."""
TONES = {name: tone.rgb_light for name, tone in palette.TONES.items()}
INK, DIM, LINE = palette.TEXT.rgb_light, palette.DIM.rgb_light, palette.LINE.rgb_light
MARGIN, GAP = 15.0, 4.0
CAPTION, ROW = 12.0, 5.2
WIDE = {"mini-slide, sample": 3.4, "class": 2.4, "taxon": 3.4, "why": 8.0, "what happened, and what was done": 7.0,
        "says": 6.0, "record": 3.0, "when": 2.4, "": 1.0, "where": 1.6, "part of the night": 4.0, "range": 1.8,
        "fields": 1.5, "time": 1.5, f"focus, {MICROMETRE}": 1.9}  # fmt: skip
"""Widths of columns against one of 1.2."""


class _Paper(FPDF):
    """A4 with a line at the bottom that says which night it is and how many pages there are."""

    def __init__(self, footing: str) -> None:
        super().__init__(format="A4")
        self._footing = footing
        self.add_font(FONT, "", FONTS / "DejaVuSans.ttf")
        self.add_font(FONT, "B", FONTS / "DejaVuSans-Bold.ttf")
        self.set_margins(MARGIN, MARGIN)
        self.set_auto_page_break(True, MARGIN + 5)
        self.add_page()

    def footer(self) -> None:
        self.set_y(-12)
        self.set_font(FONT, "", 7)
        self.set_text_color(*DIM)
        self.cell(self.epw / 2, 4, _fit(self, self._footing, self.epw / 2))
        self.cell(self.epw / 2, 4, f"{self.page_no()} of {{nb}}", align="R")

    def text_line(self, text: str, size: float = 9, style: str = "", colour: tuple[int, int, int] = INK) -> None:
        self.set_font(FONT, style, size)
        self.set_text_color(*colour)
        self.multi_cell(self.epw, size * 0.5, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT, align="L")

    def heading(self, text: str, room: float = 40) -> None:
        """Begin a part, on a new page where there is not so much room (mm) left."""
        self.need(room)
        self.ln(4)
        self.text_line(text, 12, "B")
        self.ln(1)

    def need(self, room: float) -> None:
        if self.get_y() + room > self.page_break_trigger:
            self.add_page()


def write_paper(into: Path, report: NightReport) -> None:
    """Write the PDF, whole or not at all."""
    numbers = report.numbers
    paper = _Paper(f"{words.heading(numbers)}, night {numbers.started.night}")
    paper.set_title(f"{report.verdict.headline} {words.heading(numbers)}")
    paper.set_creator("lamelle")
    _verdict(paper, report)
    _masses(paper, report)
    paper.heading("Samples")
    _table_or(paper, words.samples(numbers), "None.")
    paper.text_line(words.counted(numbers), 7, colour=DIM)
    _excluded(paper, numbers)
    if report.fields:
        paper.heading("Fields", 60)
        _gallery(paper, [(one.picture, one.without, *words.field_caption(one)) for one in report.fields], shape=1 / 2)
    excluded = bool(numbers.excluded_fields)
    if (found := words.kinds(numbers.kinds, excluded=excluded)).rows:
        paper.heading("Classes")
        _table(paper, found)
    if (taxa := words.kinds(numbers.taxa, "taxon", excluded=excluded)).rows:
        paper.heading("Taxa")
        _table(paper, taxa)
        paper.text_line(words.unlike(numbers), 7, colour=DIM)
    _charts(paper, report.night_charts)
    _pictures(paper, report)
    charts = {one.slide: one.charts for one in report.slide_charts}
    for slide in numbers.slides:
        if slide.slide in charts:
            excluded = bool(slide.excluded_fields)
            kinds = words.kinds(slide.kinds, excluded=excluded)
            paper.heading(f"Mini-slide {slide.slide}   {slide.sample}", 68 + ROW * len(kinds.rows))
            paper.text_line(words.about_slide(slide), 8, colour=DIM)
            for found in (kinds, words.kinds(slide.taxa, "taxon", excluded=excluded)):
                if found.rows:
                    _table(paper, found)
            _charts(paper, charts[slide.slide], columns=3)
    paper.heading("What happened")
    _table_or(paper, words.events(numbers), "Nothing to report.")
    if numbers.skipped or numbers.kept_raw or numbers.again:
        paper.heading(words.SKIPPED)
        _table_or(paper, words.skipped(numbers), "")
    timing, needed = words.timing(report)
    if timing.rows:
        paper.heading("Where the time went")
        paper.text_line(needed)
        _table(paper, timing)
    _sources(paper, report)
    make_folder(into.parent)
    with replacing(into) as stream:
        stream.write(bytes(paper.output()))


def _masses(paper: _Paper, report: NightReport) -> None:
    if report.masses:
        paper.need(10 + 8 * len(report.masses))
        paper.ln(3)
        paper.text_line("About the masses", 9, "B", TONES["warning"])
        for line in report.masses:
            paper.text_line(line, 8)


def _pictures(paper: _Paper, report: NightReport) -> None:
    if report.finest:
        paper.heading("The finest objects", 50)
        every = [one for _, shown in report.finest for one in shown]
        _gallery(paper, [(one.picture, one.without, *words.caption(one)) for one in every], columns=OF_A_TAXON)
    if report.doubtful:
        paper.heading("The most doubtful objects", 50)
        _gallery(paper, [(one.picture, one.without, *words.caption(one)) for one in report.doubtful])


def _excluded(paper: _Paper, numbers: NightNumbers) -> None:
    told = words.flags(numbers)
    if (table := words.excluded(numbers)).rows or told:
        paper.heading(words.EXCLUDED)
        _table_or(paper, table, "None.")
        paper.text_line(told, 7, colour=DIM)
    for one in numbers.unread:
        paper.text_line(one, 7)


def _verdict(paper: _Paper, report: NightReport) -> None:
    tone, top = TONES[report.verdict.tone], paper.get_y()
    paper.set_left_margin(MARGIN + 5)
    paper.text_line(words.heading(report.numbers), 8, colour=DIM)
    paper.ln(1)
    paper.text_line(report.verdict.headline, 17, "B", tone)
    for need in report.verdict.needs or (report.verdict.detail,):
        paper.ln(1)
        paper.text_line(("→ " if report.verdict.needs else "") + need)
    with paper.local_context(fill_color=tone):
        paper.rect(MARGIN, top, 1.6, paper.get_y() - top, style="F")
    paper.set_left_margin(MARGIN)
    paper.ln(4)
    facts = words.facts(report.numbers)
    width, y = paper.epw / len(facts), paper.get_y()
    for at, (name, value) in enumerate(facts):
        paper.set_xy(MARGIN + at * width, y)
        paper.set_font(FONT, "", 7)
        paper.set_text_color(*DIM)
        paper.cell(width, 4, name)
        paper.set_xy(MARGIN + at * width, y + 4)
        paper.set_font(FONT, "B", 9)
        paper.set_text_color(*INK)
        paper.cell(width, 5, _fit(paper, value, width - 1))
    paper.set_xy(MARGIN, y + 9)


def _table_or(paper: _Paper, table: Table, otherwise: str) -> None:
    if not table.rows:
        paper.text_line(otherwise)
        return
    _table(paper, table)
    if table.more:
        paper.text_line(table.more, 8, colour=DIM)


def _table(paper: _Paper, table: Table) -> None:
    paper.set_font(FONT, "", 7.5)
    paper.set_text_color(*INK)
    paper.set_draw_color(*LINE)
    aligned = tuple("LEFT" if at < table.left else "RIGHT" for at in range(len(table.head)))
    with paper.table(
        width=paper.epw,
        col_widths=tuple(WIDE.get(name, 1.2) for name in table.head),
        text_align=aligned,
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        headings_style=FontFace(emphasis="", color=DIM, size_pt=6.5),
        line_height=3.6,
        padding=(0.7, 0.8),
    ) as drawn:
        for row in (table.head, *table.rows):
            drawn.row([str(cell) for cell in row])
    paper.ln(1.5)


def _charts(paper: _Paper, charts: Sequence[Chart], columns: int = 2) -> None:
    """Put charts side by side, each row as high as its highest."""
    width = (paper.epw - (columns - 1) * GAP) / columns
    for begin in range(0, len(charts), columns):
        row = charts[begin : begin + columns]
        paper.need(max(_shape(chart.png) for chart in row) * width + ROW)
        top, heights = paper.get_y() + 2, [0.0]
        for at, chart in enumerate(row):
            placed: Any = paper.image(io.BytesIO(chart.png), MARGIN + at * (width + GAP), top, width)
            paper.set_xy(MARGIN + at * (width + GAP), top + placed.rendered_height)
            paper.set_font(FONT, "", 6)
            paper.set_text_color(*DIM)
            paper.multi_cell(width, 3, chart.about, align="L")
            heights.append(placed.rendered_height + 4)
        paper.set_xy(MARGIN, top + max(heights))


def _gallery(
    paper: _Paper, shown: Sequence[tuple[bytes, str, str, str, str]], columns: int = 3, shape: float = 1 / 3
) -> None:
    """Put pictures side by side, so many in a row.

    Parameters
    ----------
    shown
        each a JPEG, why there is none, its title, what is to be said of it, and where it is.
    shape
        height of a picture over its width, about.
    """
    width = (paper.epw - (columns - 1) * GAP) / columns
    for begin in range(0, len(shown), columns):
        paper.need(width * shape + CAPTION + 4)
        top, deepest = paper.get_y() + 2, 0.0
        for at, (picture, without, title, measured, where) in enumerate(shown[begin : begin + columns]):
            left, below = MARGIN + at * (width + GAP), top
            if picture:
                placed: Any = paper.image(io.BytesIO(picture), left, top, width)
                below += placed.rendered_height
            paper.set_xy(left, below + 0.5)
            said = " \u00b7 ".join(filter(None, (measured, without)))
            for text, style, colour in ((title, "B", INK), (said, "", INK), (where, "", DIM)):
                paper.set_x(left)
                paper.set_font(FONT, style, 6.5)
                paper.set_text_color(*colour)
                paper.multi_cell(width, 3, text, align="L", new_x=XPos.LEFT, new_y=YPos.NEXT, max_line_height=3)
            deepest = max(deepest, paper.get_y())
        paper.set_xy(MARGIN, deepest + 1)


def _sources(paper: _Paper, report: NightReport) -> None:
    paper.heading("What the numbers rest on")
    if report.sources.calibrations:
        _table(paper, words.calibrations(report))
    if report.sources.assumed:
        told = f"No calibration was used for {', '.join(report.sources.assumed)}: assumed values were used."
        paper.text_line(told, 8)
    for complaint in report.sources.complaints:
        paper.text_line(complaint, 7, colour=DIM)
    paper.ln(1)
    for name, value in report.sources.facts:
        paper.text_line(f"{name}:  {value}", 7, colour=DIM)
    paper.heading("For a Methods section", 60)
    paper.text_line("What stands in square brackets lamelle does not know.", 7, colour=DIM)
    for paragraph in report.methods:
        paper.ln(1.5)
        paper.text_line(paragraph, 8)


def _shape(png: bytes) -> float:
    """Height of a picture over its width."""
    with Image.open(io.BytesIO(png)) as picture:
        return picture.height / picture.width


def _fit(paper: FPDF, text: str, width: float) -> str:
    """Shorten a text until it fits."""
    while text and paper.get_string_width(text) > width:
        text = text[:-2] + "…" if len(text) > 2 else ""
    return text
