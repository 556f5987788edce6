"""Tables of labels as spreadsheets save them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.config.sheets import with_point
from daemon.config.written_sheets import write_sheet
from daemon.labels.tables import read_sheet
from daemon.system.errors import Refused

HEADER = ["taxon", "Night", "SLIDE", "field", "number", "units", "Schärfe"]
ROW = ["\u00c5 \u2013 a, b", "N\u00ea", "1", "2", "3", "0,5", "x"]
UNSAFE = st.text(st.sampled_from("=+-@\t\r'a \u00e9\n,;\""), max_size=6)


def text_of(separator: str, ending: str = "\r\n") -> str:
    stream = io.StringIO()
    csv.writer(stream, delimiter=separator, lineterminator=ending).writerows([HEADER, ROW, []])
    return stream.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
@pytest.mark.parametrize("ending", ["\r\n", "\n", "\r"], ids=["crlf", "lf", "cr"])
@pytest.mark.parametrize("above", ["", "sep"])
def test_whatever_a_spreadsheet_saves_is_read_alike(
    encoding: str, separator: str, ending: str, above: str, tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    text = (f"sep={separator}{ending}" if above else "") + text_of(separator, ending)
    path.write_bytes(text.encode(encoding))
    sheet = read_sheet(path)
    assert sheet.columns == ("taxon", "night", "slide", "field", "number", "units", "schärfe")
    assert sheet.unused == ("schärfe",)
    assert list(sheet.rows()) == [(3 if above else 2, dict(zip(sheet.columns, ROW, strict=True)))]
    assert sheet.comma_is_decimal == (separator == ";")
    assert bool(sheet.doubt) == (encoding == "cp1252")


def test_empty_columns_of_a_spreadsheet_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(",object,,taxon,,\n0,a,,b,,\n,,,,,\n", "utf-8")
    sheet = read_sheet(path)
    ((_, cells),) = sheet.rows()
    assert not isinstance(cells, str)
    assert (cells["object"], cells["taxon"], sheet.unused) == ("a", "b", ())


def test_a_row_of_another_length_is_told_and_the_next_one_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("object,taxon\na,b,c\n\n d , e \nf\n", "utf-8")
    first, second, third = read_sheet(path).rows()
    assert first == (2, "3 cells are in a row of 2 columns; put text that holds a separator in quotation marks")
    assert second == (4, {"object": "d", "taxon": "e"})
    assert third[0] == 5


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", b"", "holds no label"),
        ("a.csv", b"taxon,slide\n", "has no column 'night' among 'taxon', 'slide'; objects are named by"),
        ("a.csv", b"object,taxon,TAXON\n", "column 'taxon' appears 2 times"),
        ("a.csv", b'object,taxon\n"a,b\n', "line 2: unexpected end of data; correct the quotation marks. Nothing was"),
        ("a.csv", b"object\n\x81\x00", "line 2"),
        ("a.parquet", b"PAR1", "is no Parquet file that can be read"),
        ("a.xlsx", b"PK", "give one that ends in .csv, .tsv, .txt, .parquet"),
        ("missing.csv", None, "cannot be read (No such file or directory)"),
    ],
    ids=["empty", "no night", "twice", "quotes", "bytes", "parquet", "ending", "missing"],
)
def test_a_table_that_cannot_be_read_is_refused_in_a_sentence(
    name: str, data: bytes | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(Refused) as refused:
        read_sheet(path)
    assert said in str(refused.value)


@settings(max_examples=40)
@given(st.lists(st.tuples(UNSAFE, UNSAFE), min_size=1, max_size=4))
def test_no_spreadsheet_computes_what_is_written_and_it_comes_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "unsafe.csv"
    texts = [(f"{night}n", taxon.rstrip()) for night, taxon in texts]
    texts = [(night if night[0] not in " \n" else f"n{night}", taxon.lstrip(" \n")) for night, taxon in texts]
    columns = {"object": [night for night, _ in texts], "taxon": [taxon for _, taxon in texts]}
    write_sheet(path, pa.table(columns))
    with path.open(encoding="utf-8-sig", newline="") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]
    back = [cells for _, cells in read_sheet(path).rows() if not isinstance(cells, str)]
    assert [(row["object"], row["taxon"] or "") for row in back] == texts


@pytest.mark.parametrize(
    ("text", "semicolons", "number"),
    [
        ("0,5", False, "0.5"),
        ("1,234", True, "1.234"),
        ("1,234", False, "1,234"),
        ("1.5", True, "1.5"),
        ("1,2,3", True, "1,2,3"),
    ],
)
def test_a_comma_is_a_point_where_it_can_be_nothing_else(text: str, semicolons: bool, number: str) -> None:
    assert with_point(text, semicolons) == number


@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv", "labels.parquet"])
def test_what_is_written_says_the_same(name: str, tmp_path: Path) -> None:
    said: dict[str, list[Any]] = {"object": ["a"], "units": [0.5], "reworked": [False], "taxon": [None]}
    write_sheet(tmp_path / "deeper" / name, pa.table(said))
    ((_, cells),) = read_sheet(tmp_path / "deeper" / name).rows()
    written = {"object": "a", "units": 0.5, "reworked": False, "taxon": None}
    plain = {"object": "a", "units": "0.5", "reworked": "no", "taxon": None}
    assert cells == (written if name.endswith("parquet") else plain)
