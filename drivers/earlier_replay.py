"""How version 0.2 said which files a replay shows: by a glob and a regular expression, read as names of files today."""

from __future__ import annotations

import re
from typing import Any

KEYS = ("layout", "pattern", "field_pattern")
_GROUP = re.compile(r"\(\?P<(field|z|c|slide)>(?:\[[^\]]*\]|\\.|[^()\\])*\)")
_PLACES = {"field": "{field}", "z": "{z}", "c": "{polarization}", "slide": "{slide}"}
_ANYTHING = re.compile(r"\.[*+]\??")


def in_one_language(given: dict[str, Any]) -> dict[str, Any]:
    """Replace the keys of version 0.2 by `planes`.

    Raises
    ------
    ValueError
        They say what names of files cannot; the sentence says what to write instead.
    """
    if not set(KEYS) & given.keys():
        return given
    kept = {key: value for key, value in given.items() if key not in KEYS}
    expression, glob = given.get("field_pattern"), str(given.get("pattern") or "*.tif").removeprefix("**/")
    planes = ""
    if expression is not None:
        planes = _translated(str(expression), glob)
    elif given.get("layout") == "stacks":
        planes = "{field}".join(glob.rsplit("*", 1))
    if set("?[") & set(glob) or not {"{field}", "{z}"} & set(re.findall(r"\{\w+\}", planes)):
        raise ValueError(
            f"{', '.join(key for key in KEYS if key in given)} are keys of version 0.2; write planes instead, the "
            "names of the files with {slide}, {field}, {z} and {polarization} for what differs and * for anything, "
            'such as "{field}_z{z}.tif"'
        )
    return {"planes": planes} | kept


def _translated(expression: str, glob: str) -> str:
    """Write a regular expression that is searched for in paths as a pattern of names; empty where that cannot be."""
    begins, ends = expression.startswith("^"), expression.endswith("$")
    text = expression.removeprefix("^").removesuffix("$")
    text = _ANYTHING.sub("*", _GROUP.sub(lambda found: _PLACES[found[1]], text))
    text = re.sub(r"\\([^\w])", r"\1", text)
    if re.search(r"[\\()\[\]{}|?+^$]", re.sub("|".join(map(re.escape, _PLACES.values())), "", text)):
        return ""
    before = "" if begins or text.startswith("{slide}") else "*"
    # What stands for a field goes on to the suffix, which the glob names; what else that asks for must stand there.
    _, dot, suffix = glob.rpartition("*")[2].partition(".")
    if not all(word in text for word in re.split(r"[*/]+", glob.removesuffix(dot + suffix))):
        return ""
    after = "" if ends else ("" if text.endswith(("{field}", "*")) else "*") + dot + suffix
    return before + text + after
