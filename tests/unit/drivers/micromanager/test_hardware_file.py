import sys
import unicodedata
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mm_test_adapters import device_adapter_path

from drivers.emulated.core import open_emulated
from drivers.errors import SettingRefused
from drivers.micromanager.core import headless_core
from drivers.micromanager.hardware_file import check_hardware_file, read_hardware_file
from drivers.microscope import Exposure
from drivers.settings import Instrument
from tests.support.instruments import HARDWARE, SWEEP, instrument, slides


def test_the_shipped_hardware_file_is_understood() -> None:
    hardware = read_hardware_file(HARDWARE)
    assert hardware.devices["Camera"] == ("DemoCamera", "DCam")
    assert hardware.labels["Polarizer"] == {"Crossed", "Parallel"}
    assert hardware.presets["Polarization", "Crossed"] == (("Polarizer", "Label", "Crossed"),)
    hardware.check(instrument())


def test_the_demo_configuration_of_micromanager_is_understood() -> None:
    hardware = read_hardware_file(Path(device_adapter_path()) / "MMConfig_demo.cfg")
    assert hardware.devices["Camera"] == ("DemoCamera", "DCam")
    assert ("Channel", "DAPI") in hardware.presets


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"devices": {"focus": "Piezo"}}, r"instrument\.devices\.focus is 'Piezo'.*give one of Camera"),
        ({"light_on": ("Lamp", "On")}, r"instrument\.light_on is Lamp/On"),
        ({"light_off": ("Lamp", "Off")}, r"instrument\.light_off is Lamp/Off"),
        (
            {"polarizations": {"crossed": {"group": "Polarization", "preset": "X", "exposure_ms": 1}}},
            r"instrument\.polarizations\.crossed is Polarization/X.*Polarization/Crossed",
        ),
    ],
)
def test_what_the_file_does_not_define_is_refused(changes: Any, told: str) -> None:
    with pytest.raises(SettingRefused, match=told):
        read_hardware_file(HARDWARE).check(instrument(**changes))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("Crossed,Polarizer,Label,Crossed", "Crossed,Polarizer,Label,Krossed", "'Krossed'.*labels"),
        ("Crossed,Polarizer,Label,Crossed", "Crossed,Polariser,Label,Crossed", "device 'Polariser'"),
    ],
)
def test_a_preset_that_cannot_be_set_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = tmp_path / "wrong.cfg"
    path.write_text(HARDWARE.read_text().replace(old, new))
    with pytest.raises(SettingRefused, match=told):
        read_hardware_file(path).check(instrument())


def test_a_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingRefused, match="cannot be read"):
        read_hardware_file(tmp_path / "missing.cfg")
    path = tmp_path / "broken.cfg"
    path.write_text("Device,Camera\n")
    with pytest.raises(SettingRefused, match="line 1"):
        read_hardware_file(path)


words = st.text(st.characters(codec="ascii", exclude_characters=",\r\n\x0b\x0c\x1c\x1d\x1e\x85#"), min_size=1)


@given(st.lists(st.tuples(words, words, words, words, words), max_size=8))
def test_presets_come_back_as_they_were_written(tmp_path_factory: Any, settings: list[Any]) -> None:
    path = tmp_path_factory.mktemp("cfg") / "any.cfg"
    path.write_text("".join(",".join(("ConfigGroup", *setting)) + "\r\n" for setting in settings), newline="")
    presets = read_hardware_file(path).presets
    assert sum(len(found) for found in presets.values()) == len(settings)
    for group, preset, device, name, value in settings:
        assert (device, name, value) in presets[group, preset]


def test_a_focus_drive_that_would_be_withdrawn_into_the_slide_is_refused(tmp_path: Path) -> None:
    turned = tmp_path / "turned.cfg"
    turned.write_text(HARDWARE.read_text().replace("FocusDirection,Z,1", "FocusDirection,Z,-1"))
    with pytest.raises(SettingRefused, match=r"focus is 'Z', whose larger z leads away .*-1 in turned\.cfg"):
        read_hardware_file(turned).check(instrument())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Micro-Manager has a usual place")
def test_on_linux_the_adapters_must_be_named(tmp_path: Path) -> None:
    settings = instrument(backend="micromanager", emulation=None)
    with pytest.raises(SettingRefused, match=r"instrument\.adapters is missing, and on Linux"):
        check_hardware_file(settings)
    with pytest.raises(SettingRefused, match=r"instrument\.adapters is missing"):
        headless_core(settings)


FRENCH = (
    HARDWARE.read_text("utf-8")
    .replace("Polarizer,0,Crossed", "Polarizer,0,Croisé")
    .replace("Crossed,Polarizer,Label,Crossed", "Croisé,Polarizer,Label,Croisé")
)


def french(name: str, path: Path, backend: str = "emulated") -> Instrument:
    states = {
        "crossed": {"group": "Polarization", "preset": name, "exposure_ms": 20},
        "parallel": {"group": "Polarization", "preset": "Parallel", "exposure_ms": 20},
    }
    return instrument(hardware=path, polarizations=states, backend=backend)


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-8", "Croisé"),
        ("utf-8-sig", "Croisé"),
        ("utf-16", "Croisé"),
        ("cp1252", "Croisé"),
        ("cp1252", unicodedata.normalize("NFD", "Croisé")),
        ("utf-8", "Croisé\u00a0"),
    ],
)
def test_a_hardware_file_of_any_encoding_is_checked_and_loaded(encoding: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "french.cfg"
    path.write_bytes(FRENCH.encode(encoding))
    settings = french(name, path)
    read_hardware_file(path).check(settings)
    with closing(open_emulated(settings, slides())) as equipment:
        equipment.polarize("crossed")
        assert equipment.polarization() == "crossed"


def test_a_number_of_a_preset_may_read_back_with_more_digits(tmp_path: Path) -> None:
    path = tmp_path / "retarder.cfg"
    lines = HARDWARE.read_text("utf-8").replace("Polarizer,DemoCamera,DStateDevice", "Polarizer,DemoCamera,D-DA")
    kept = [line for line in lines.splitlines() if not line.startswith(("Label,Polarizer", "ConfigGroup,Polarization"))]
    voltages = {"Crossed": "1.5", "Parallel": "2.25"}
    presets = [f"ConfigGroup,Polarization,{name},Polarizer,Voltage,{volts}" for name, volts in voltages.items()]
    path.write_text("\n".join((*kept, *presets, "")), "utf-8")
    with closing(open_emulated(instrument(hardware=path), slides())) as equipment:
        for state in ("crossed", "parallel"):
            equipment.light(True)
            equipment.polarize(state)
            assert equipment.polarization() == state
            equipment.begin(Exposure(1, 1, 0), SWEEP)
            equipment.stage(state, 0)
            assert equipment.snap().shape == (192, 256)


def test_a_hardware_file_whose_encoding_cannot_be_told_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mixed.cfg"
    path.write_bytes("# é\n".encode() + "# é\n".encode("cp1252"))
    with pytest.raises(SettingRefused, match=r"mixed\.cfg' cannot be read, line 2: bytes from 0xe9.*save it as UTF-8"):
        read_hardware_file(path)
