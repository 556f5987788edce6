from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from daemon.config.samples import COUNTING, doubt_of, read_samples
from daemon.system.errors import Refused

GOOD = "position,sample,settling_area_mm2,core\n1,MD-01,5026.5,MD04-2843\n2,MD-02,,MD04-2843\n3,MD-01,5026.5,\n"


def sheet(folder: Path, content: str | bytes) -> Path:
    path = folder / "samples.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        GOOD.encode(),
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace(",", ";").encode(),
        GOOD.replace("\n", "\r\n").encode(),
        GOOD.replace(",", "\t").encode("utf-16"),
        GOOD.replace(",", ";").replace("5026.5", "5026,5").encode(),
        GOOD.replace("5026.5", '"5026,5"').encode(),
        GOOD.replace(",", ";").replace("5026.5", "5\u202f026,5").replace("MD-01", "MD-01\u00a0").encode(),
        GOOD.replace("1,MD-01", ' 1 , "MD-01" '.replace('"', "")).encode() + b",,,\n\n",
    ],
    ids=[
        "plain",
        "bom",
        "semicolons",
        "windows lines",
        "Excel's Unicode",
        "decimal commas",
        "commas in quotation marks",
        "odd spaces",
        "spaces and empty lines",
    ],
)
def test_a_sheet_is_read_with_all_its_columns(content: bytes, tmp_path: Path) -> None:
    assert read_samples(sheet(tmp_path, content), [3, 1]) == {
        1: {"sample": "MD-01", "settling_area_mm2": "5026.5", "core": "MD04-2843"},
        3: {"sample": "MD-01", "settling_area_mm2": "5026.5", "core": ""},
    }


@pytest.mark.parametrize(
    ("line", "separator"),
    [("sep=;", ";"), ("sep=,", ","), ("SEP=|", "|"), ("sep=\t", "\t"), ('"sep=;"', ";"), ("sep=;;;;", ";")],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_line_of_excel_says_what_separates_cells(
    line: str, separator: str, end: str, encoding: str, tmp_path: Path
) -> None:
    rows = (line, "position|sample|remark", "1|Målsjö 1|a", "2|x|", "")
    content = end.join((rows[0], *(row.replace("|", separator) for row in rows[1:])))
    path = sheet(tmp_path, content.encode(encoding))
    assert read_samples(path, [1, 2]) == {
        1: {"sample": "Målsjö 1", "remark": "a"},
        2: {"sample": "x", "remark": ""},
    }


def test_a_line_that_says_the_separator_is_counted_and_believed(tmp_path: Path) -> None:
    area = "position;sample;settling_area_mm2\n1;a,b;1,234\n"
    assert read_samples(sheet(tmp_path, f"sep=;\n{area}"), [1]) == {1: {"sample": "a,b", "settling_area_mm2": "1.234"}}
    with pytest.raises(Refused, match=r"samples\.csv, line 4: position is '9'"):
        read_samples(sheet(tmp_path, "sep=;\nposition;sample\n1;a\n9;b\n"), [1])
    with pytest.raises(Refused, match=r"samples\.csv, line 2: there is no column 'position'"):
        read_samples(sheet(tmp_path, "sep=,\nposition;sample\n1;a\n"), [1])
    with pytest.raises(Refused, match=r"samples\.csv, line 3: .*quotation marks"):
        read_samples(sheet(tmp_path, 'sep=;\nposition;sample\n1;"a\n'), [1])


def test_text_keeps_its_separators_and_its_letters(tmp_path: Path) -> None:
    path = sheet(tmp_path, 'position,sample,remark\n1,Målsjö-1,"sieved, 63 µm; ""twice"""\n')
    assert read_samples(path, [1]) == {1: {"sample": "Målsjö-1", "remark": 'sieved, 63 µm; "twice"'}}


BROKEN = {
    "no position column": ("slide,sample\n1,a\n", ("line 1", "'position'", "slide, sample", "add it")),
    "no sample column": ("position,name\n1,a\n", ("line 1", "'sample'", "add it")),
    "column twice": ("position,sample,core,core\n1,a,b,c\n", ("line 1", "'core'", "2 times", "rename")),
    "column without a name": ("position,sample,\n1,a,b\n", ("line 1", "column 3", "name it")),
    "position nine": ("position,sample\n1,a\n9,b\n", ("line 3", "position is '9'", "from 1 to 8")),
    "position of a word": ("position,sample\nfirst,a\n", ("line 2", "position is 'first'", "from 1 to 8")),
    "position with a point": ("position,sample\n1.0,a\n", ("line 2", "position is '1.0'", "whole number")),
    "position twice": ("position,sample\n1,a\n\n1,b\n", ("line 4", "position 1", "line 2", "one line")),
    "sample on two lines": ('position,sample\n1,"a\nb"\n', ("line 3", "sample is 'a\\nb'", "on one line")),
    "sample steers a terminal": ("position,sample\n1,a\x1b[2J\n", ("line 2", "control character", "on one line")),
    "sample empty": ("position,sample\n1,\n", ("line 2", "sample is empty", "name the sample")),
    "position not covered": ("position,sample\n1,a\n", ("position 2", "scan.slides", "add its line")),
    "too few cells": ("position,sample,core\n1,a\n", ("line 2", "2 cells", "3 columns", "quotation marks")),
    "quotation never closed": ('position,sample\n1,"a\n2,b\n', ("line", "correct the quotation marks")),
    "no rows": ("position,sample\n", ("no sample", "one line a mini-slide")),
    "nothing": ("", ("no sample", "position,sample")),
    "decimal comma or thousands": (
        'position,sample,settling_area_mm2\n1,a,"5,026"\n',
        ("line 2", "settling_area_mm2 is '5,026'", "decimal point", "two ways", "correct it"),
    ),
    "negative mass": (
        "position,sample,sediment_mass_mg\n1,a,-3\n",
        ("line 2", "sediment_mass_mg is '-3'", "greater than 0"),
    ),
    "split below one": ("position,sample,split_factor\n1,a,0.25\n", ("line 2", "split_factor is '0.25'", "at least 1")),
    "endless area": ("position,sample,trap_area_m2\n1,a,inf\n", ("line 2", "trap_area_m2 is 'inf'", "finite")),
    "no number of days": ("position,sample,collection_days\n1,a,NaN\n", ("collection_days is 'NaN'", "finite")),
}


@pytest.mark.parametrize(("content", "told"), BROKEN.values(), ids=BROKEN)
def test_a_broken_sheet_is_refused_in_one_sentence(content: str, told: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        read_samples(sheet(tmp_path, content), [1, 2] if told[0] == "position 2" else [1])
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert "samples.csv" in sentence
    for part in told:
        assert part in sentence


def test_a_sheet_of_windows_is_read_and_the_guess_is_told(tmp_path: Path) -> None:
    path = sheet(tmp_path, "position,sample\n1,Målsjö œ 3\n".encode("cp1252"))
    assert read_samples(path, [1]) == {1: {"sample": "Målsjö œ 3"}}
    assert doubt_of(path).startswith("line 2 is not UTF-8 and was read as Windows-1252: '1,Målsjö œ 3'")


def test_a_sheet_whose_encoding_cannot_be_told_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"samples\.csv, line 3: bytes from 0xe5 .*; save the sheet as CSV UTF-8"):
        read_samples(sheet(tmp_path, "position,sample\n1,å\n".encode() + "2,å\n".encode("latin-1")), [1])


def test_one_sample_spelt_in_two_ways_is_one_sample(tmp_path: Path) -> None:
    names = unicodedata.normalize("NFD", "Målsjö 3"), "Målsjö\u00a03"
    path = sheet(tmp_path, f"position,sample\n1,{names[0]}\n2,{names[1]}\n")
    assert {row["sample"] for row in read_samples(path, [1, 2]).values()} == {"Målsjö 3"}


@pytest.mark.parametrize(
    ("cell", "number"),
    [("2,345", "2.345"), ("1 234,5", "1234.5"), ("1'234.5", "1234.5"), ("12345", "12345"), ("1,5e3", "1.5e3")],
)
def test_numbers_of_a_sheet_with_semicolons_have_decimal_commas(cell: str, number: str, tmp_path: Path) -> None:
    path = sheet(tmp_path, f"position;sample;sediment_mass_mg\n1;a;{cell}\n")
    assert read_samples(path, [1])[1]["sediment_mass_mg"] == number


def test_a_sheet_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"scan\.samples"):
        read_samples(tmp_path / "none.csv", [1])


@pytest.mark.parametrize("name", COUNTING)
def test_every_counting_column_takes_numbers_and_nothing_else(name: str, tmp_path: Path) -> None:
    assert read_samples(sheet(tmp_path, f"position,sample,{name}\n1,a,1.5\n"), [1])[1][name] == "1.5"
    with pytest.raises(Refused, match=f"{name} is 'many'"):
        read_samples(sheet(tmp_path, f"position,sample,{name}\n1,a,many\n"), [1])
