"""One rule of rounding for all numbers that people read, in Python and in the pages that browsers load."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.wording import DASH, MINUS, fixed, length, listed, mass, optional, percent, short, whole
from tests.support.deadlines import DEADLINE_S

SHORT = {
    0.0: "0", 0.05: "0.0500", 0.9996: "1.00", 1.0: "1.00", 5.3249: "5.32", 9.996: "10.0", 99.96: "100", 123.4: "123",
    999.6: "1,000", 6819.4: "6,819", 60382.0: "60,382", -3.14159: f"{MINUS}3.14", -12345.0: f"{MINUS}12,345",
}  # fmt: skip


@pytest.mark.parametrize(("value", "told"), SHORT.items())
def test_three_digits_count(value: float, told: str) -> None:
    assert short(value) == told


@given(st.floats(1e-6, 1e9))
def test_a_number_is_told_within_half_of_its_third_digit(value: float) -> None:
    told = float(short(value).replace(",", ""))
    assert abs(told - value) <= 0.5000001 * max(10.0 ** (math.floor(math.log10(value)) - 2), 0) or value >= 1000
    assert abs(told - value) <= 0.5 or value < 1000


def test_units_deviations_and_lists() -> None:
    assert length(5.3249) == "5.32 µm"
    assert mass(21.34, 4.216) == "21.3 ± 4.2 pg"
    assert mass(123.4, 15.4) == "123 ± 15 pg"
    assert mass(3.05) == "3.05 pg"
    assert fixed(-0.04, 1) == "0.0"
    assert optional(None) == DASH
    assert [percent(share) for share in (0, 0.004, 0.26, 1)] == ["0 %", "< 1 %", "26 %", "100 %"]
    assert [listed(some) for some in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert whole(60382) == "60,382"


@pytest.mark.skipif(shutil.which("node") is None, reason="no JavaScript outside a browser here")
def test_browsers_write_the_same(tmp_path: Path) -> None:
    script = tmp_path / "words.mjs"
    script.write_bytes((Path(str(files("daemon"))) / "web" / "page" / "words.js").read_bytes())
    asked = f"import {{ short }} from {json.dumps(script.as_uri())};"
    asked += f"console.log(JSON.stringify({json.dumps(list(SHORT))}.map(short)));"
    done = subprocess.run(
        ["node", "--input-type=module", "-e", asked], capture_output=True, check=True, timeout=DEADLINE_S
    )
    assert json.loads(done.stdout) == list(SHORT.values())
