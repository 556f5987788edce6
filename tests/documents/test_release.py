"""One version, told the same by all who tell it."""

from __future__ import annotations

import re
import tomllib

from tests.support.places import ROOT

HEADING = re.compile(r"(?m)^## \[(.+?)\](?: - (\d{4}-\d{2}-\d{2}))?$")


def test_version_and_date_are_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    unreleased, newest, *_ = HEADING.findall((ROOT / "CHANGELOG.md").read_text("utf-8"))
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert unreleased == ("Unreleased", "")
    assert newest[0] == project["version"]
    assert re.findall(r"(?m)^version: (.*)$", citation) == [newest[0]]
    assert re.findall(r'(?m)^date-released: "(.*)"$', citation) == [newest[1]]
