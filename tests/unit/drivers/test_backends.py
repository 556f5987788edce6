"""Back-ends of other packages: found by name, or refused in one sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.config.loading import load
from daemon.planning.check import check_instrument
from daemon.system.errors import Refused
from drivers.backends import BUILT_IN, check_equipment, find_back_end, open_equipment, supplier_of
from drivers.equipment import BackEnd
from drivers.errors import SettingRefused
from tests.support.instruments import instrument, slides
from tests.support.other_back_ends import install, install_shown, shown_files, write_shown_configuration

GOOD = """
from pathlib import Path
Path(__file__).with_name("imported").touch()
from drivers.equipment import BackEnd
BACK_END = BackEnd(protocol=1, open=lambda instrument, slides, options: object())
"""


MUTE = "class Mute(Exception):\n    def __str__(self): raise ValueError('no')\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder where packages may be installed; what was imported from it is forgotten."""
    place = tmp_path / "installed"
    place.mkdir()
    monkeypatch.syspath_prepend(place)
    before = set(sys.modules)
    yield place
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(place)):
            del sys.modules[name]


def offer(folder: Path, text: str = GOOD, name: str = "others", distribution: str = "lamelle-others") -> None:
    module = distribution.replace("-", "_")
    install(folder, distribution, "2.0", {name: f"{module}:BACK_END"}, {f"{module}/__init__.py": text})


def test_the_back_end_that_is_named_is_found_and_nothing_else_imported(folder: Path) -> None:
    offer(folder)
    offer(folder, "raise RuntimeError('broken')", "broken", "lamelle-broken")
    assert find_back_end("emulated").protocol == 1
    supplier = supplier_of("others")
    assert supplier is not None
    assert (supplier.distribution, supplier.version, len(supplier.sha256)) == ("lamelle-others", "2.0", 64)
    assert not (folder / "lamelle_others" / "imported").exists()
    assert isinstance(find_back_end("others"), BackEnd)
    assert (folder / "lamelle_others" / "imported").exists()
    assert supplier_of("emulated") is None


def test_the_hash_is_that_of_the_files_of_the_package(folder: Path) -> None:
    offer(folder)
    first = supplier_of("others")
    assert first == supplier_of("others")
    cache = folder / "lamelle_others" / "__pycache__"
    cache.mkdir()
    (cache / "made.pyc").write_bytes(b"anything")
    assert first == supplier_of("others")
    (folder / "lamelle_others" / "firmware.bin").write_bytes(b"7")
    assert first != supplier_of("others")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import a_vendors_library", "ModuleNotFoundError.*a_vendors_library"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import sys; sys.exit('no dongle')", "SystemExit: no dongle"),
        ("def", "SyntaxError: invalid syntax"),
        ("raise KeyboardInterrupt", "does not load .KeyboardInterrupt"),
        ("raise GeneratorExit('x')", "does not load .GeneratorExit: x"),
        ("class Odd(BaseException): pass\nraise Odd('odd')", "does not load .Odd: odd"),
        (MUTE + "raise Mute()", "does not load .Mute."),
        ("from drivers.errors import StageStuck\nraise StageStuck('the stage\\nis stuck')", "StageStuck: the stage"),
        ("OTHER = 1", "AttributeError.*BACK_END"),
        ("from drivers.equipment import BackEnd; BACK_END = BackEnd(protocol=1)", "TypeError.*open"),
        ("BACK_END = 'here'", "is a str, no BackEnd"),
        (GOOD.replace("protocol=1", "protocol=2"), "made for version 2 .*this lamelle speaks version 1"),
        (GOOD.replace("protocol=1", "protocol=1, options=dict"), "no pydantic model"),
    ],
    ids=[
        "import",
        "raises",
        "exits",
        "syntax",
        "interrupt",
        "generator",
        "base",
        "mute",
        "driver",
        "nothing there",
        "incomplete",
        "type",
        "protocol",
        "options",
    ],
)
def test_one_that_does_not_fit_is_refused_in_a_sentence(folder: Path, text: str, told: str) -> None:
    offer(folder, text)
    with pytest.raises(SettingRefused, match=f"instrument.backend is 'others'.*lamelle-others 2.0.*{told}") as refused:
        find_back_end("others")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("    def model_post_init(self, _): raise RuntimeError('zap')", "RuntimeError: zap"),
        ("    def model_post_init(self, _): raise Mute()", "Mute"),
        ("    def model_post_init(self, _): raise SystemExit(3)", "SystemExit: 3"),
        ("    made: object = object()", "PydanticSerializationError"),
    ],
)
def test_options_that_raise_anything_are_refused_in_a_sentence(
    folder: Path, tmp_path: Path, model: str, told: str
) -> None:
    options = f"from pydantic import BaseModel\n{MUTE}class Options(BaseModel):\n    serial: str = 'x'\n{model}\n"
    offer(folder, options + GOOD.replace("protocol=1", "protocol=1, options=Options"))
    own = write_shown_configuration(tmp_path, backend="others", options={"serial": "P-1"})
    with pytest.raises(
        Refused, match=f"'others', which lamelle-others 2.0 offers, but it cannot read.*{told}"
    ) as refused:
        load(own, equip=True)
    assert "\n" not in str(refused.value)


def test_a_check_that_cannot_say_what_is_wrong_is_named(folder: Path) -> None:
    text = MUTE + "def check(*_): raise Mute()\n" + GOOD.replace("protocol=1", "protocol=1, check=check")
    offer(folder, text)
    with pytest.raises(SettingRefused, match=r"lamelle-others 2.0 offers, but it cannot check the settings .Mute."):
        check_equipment(instrument(backend="others"), 3, 1)


def test_names_that_are_offered_twice_or_never_or_are_taken_are_refused(folder: Path) -> None:
    with pytest.raises(SettingRefused, match=r"'others', which no installed package offers; choose from micromanager"):
        find_back_end("others")
    offer(folder)
    offer(folder, distribution="lamelle-rivals")
    with pytest.raises(SettingRefused, match=r"lamelle-others 2.0 and lamelle-rivals 2.0 both offer"):
        find_back_end("others")
    offer(folder, name="emulated", distribution="lamelle-shadow")
    with pytest.raises(SettingRefused, match=r"'emulated', a back-end of lamelle itself, but lamelle-shadow 2.0"):
        find_back_end("emulated")
    assert find_back_end("replay") is BUILT_IN["replay"]


@pytest.mark.parametrize(
    ("opens", "told"),
    [
        ("object()", "opened a object, no Equipment"),
        ("1 / 0", "cannot open the hardware .ZeroDivisionError"),
        ("Half()", "cannot open the hardware .TypeError.*abstract"),
    ],
)
def test_what_opens_no_equipment_is_refused(folder: Path, opens: str, told: str) -> None:
    text = "from drivers.equipment import Equipment\nclass Half(Equipment): pass\n" + GOOD.replace("object()", opens)
    offer(folder, text)
    with pytest.raises(SettingRefused, match=told):
        open_equipment(instrument(backend="others"), slides())


def test_options_are_read_by_the_model_of_the_back_end(folder: Path, tmp_path: Path) -> None:
    install_shown(folder)
    config = load(write_shown_configuration(tmp_path), equip=True)
    assert config.instrument.options == {"serial": "P-1", "commands": str(tmp_path / "commands.txt")}
    check_instrument(config)
    with pytest.raises(Refused, match=r"instrument\.options\.comands is not a key .* did you mean commands\?"):
        load(write_shown_configuration(tmp_path, options={"serial": "P-1", "comands": "here"}), equip=True)
    with pytest.raises(Refused, match=r"instrument\.options\.commands is missing"):
        load(write_shown_configuration(tmp_path, options={"serial": "P-1"}), equip=True)
    own = write_shown_configuration(tmp_path, backend="replay")
    with pytest.raises(Refused, match=r"instrument\.options is .*'replay' takes none; remove it"):
        load(own, equip=True)
    gone = write_shown_configuration(tmp_path, backend="gone")
    assert load(gone).instrument.backend == "gone"
    with pytest.raises(Refused, match=r"instrument\.backend is 'gone', which no installed package offers"):
        load(gone, equip=True)


def test_the_package_of_the_page_is_about_sixty_lines() -> None:
    code = shown_files()["lamelle_pretend/back_end.py"].splitlines()
    assert 40 <= sum(bool(line.strip()) for line in code) <= 66
