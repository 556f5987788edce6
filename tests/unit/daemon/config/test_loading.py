from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from daemon.config.loading import differences, freeze, keys_of, load, require_same, thaw
from daemon.config.model import NightConfig
from daemon.config.samples import COUNTING
from daemon.system.errors import Refused
from tests.support.configuration_files import REMOVED, night, write
from tests.support.places import CONFIGS

DOCUMENT = CONFIGS.parent / "docs" / "configuration.md"


@dataclass(frozen=True)
class Bad:
    """A bad input, and what the sentence that refuses it must contain: key, value, remedy."""

    name: str
    changes: dict[str, Any]
    told: tuple[str, ...] = field(default=())


BAD = [
    Bad("unknown key", {"scan.stpe_um": 0.5}, ("scan.stpe_um", "0.5", "did you mean step_um?")),
    Bad("typo hides a missing key", {"scan.plane": 9, "scan.planes": REMOVED}, ("scan.plane ", "did you mean planes?")),
    Bad(
        "key in the wrong place",
        {"scan.exposure_ms": 20},
        ("scan.exposure_ms", "20", "did you mean instrument.polarizations.*.exposure_ms?"),
    ),
    Bad("unknown part", {"colours": {"red": 1}}, ("colours", "red", "choose one of instrument, scan, focus")),
    Bad("missing key", {"scan.step_um": REMOVED}, ("scan.step_um is missing", "add it")),
    Bad("negative step", {"scan.step_um": -0.5}, ("scan.step_um is -0.5", "must be greater than 0", "correct")),
    Bad("step that is no number", {"scan.step_um": "half"}, ("scan.step_um is 'half'", "number", "correct")),
    Bad("infinite step", {"scan.step_um": float("inf")}, ("scan.step_um is inf", "finite number", "correct")),
    Bad("part of a field", {"scan.fields": 2.5}, ("scan.fields is 2.5", "integer", "correct")),
    Bad("ninth position", {"scan.slides.2.position": 9}, ("scan.slides[2].position is 9", "less than or equal to 8")),
    Bad("no slides", {"scan.slides": []}, ("scan.slides is []", "give at least 1")),
    Bad("slides without a list", {"scan.slides": 8}, ("scan.slides is 8", "must be a list", "write [ ]")),
    Bad("one coordinate", {"scan.slides.0.centre_um": [1.0]}, ("scan.slides[0].centre_um[1] is missing", "add it")),
    Bad(
        "window upside down",
        {"scan.slides.1.z_window_um": {"low": 60, "high": -60}},
        ("scan.slides[1].z_window_um", "60", "must be below high"),
    ),
    Bad(
        "exposure of zero",
        {"instrument.polarizations.crossed.exposure_ms": 0},
        ("instrument.polarizations.crossed.exposure_ms is 0", "greater than 0"),
    ),
    Bad("unknown mode", {"detector.mode": "both"}, ("detector.mode is 'both'", "choose one", "'fused' or 'planes'")),
    Bad(
        "a class twice",
        {"detector.classes": ["a", "b", "a"]},
        ("detector.classes is ['a', 'b', 'a']", "named twice", "once"),
    ),
    Bad("classes alike", {"detector.classes": ["Spore", "spore"]}, ("'spore'", "beside 'Spore'", "in case alone")),
    Bad("weights that are a number", {"detector.weights": 3}, ("detector.weights is 3", "must be a path", "write one")),
    Bad("part without keys", {"focus": "yes"}, ("focus is 'yes'", "must hold keys", "docs/configuration.md")),
    Bad("ring of two", {"ring_stacks": 2}, ("ring_stacks is 2", "greater than or equal to 3")),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_bad_input_is_refused_in_one_sentence_with_key_value_and_remedy(bad: Bad, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        load(write(tmp_path, bad.changes))
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert "night.yaml" in sentence
    for part in bad.told:
        assert part in sentence


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("scan: [1, 2", ("not YAML", "line 1")),
        ("scan:\n  planes: 9\n  planes: 11\n", ("line 3", "planes appears twice")),
        ("just words", ("'just words'", "instrument:")),
        ("", ("None", "instrument:")),
        ("x: !!python/object/apply:os.getcwd []", ("not YAML", "python/object")),
    ],
    ids=["broken", "repeated key", "text", "empty", "python object"],
)
def test_a_file_that_holds_no_configuration_is_refused(text: str, told: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "night.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(Refused) as refused:
        load(file)
    for part in told:
        assert part in str(refused.value)


def test_words_that_yaml_takes_for_truth_values_or_dates_are_words(tmp_path: Path) -> None:
    file = write(tmp_path, {})
    text = file.read_text(encoding="utf-8")
    file.write_text(
        text.replace("  name: emulated", "  name: 2026-11-23\n  light_on: [Lamp, On]\n  light_off: [Lamp, off]")
    )
    instrument = load(file).instrument
    assert instrument.name == "2026-11-23"
    assert instrument.light_on == ("Lamp", "On")
    assert instrument.light_off == ("Lamp", "off")
    file.write_text(text.replace("fields: 12", "fields: yes"), encoding="utf-8")
    with pytest.raises(Refused, match=r"scan\.fields is 'yes'"):
        load(file)


def test_a_missing_file_and_one_that_is_not_utf8_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        load(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("instrument: {name: Müller}".encode("latin-1"))
    with pytest.raises(Refused, match="not UTF-8"):
        load(tmp_path / "latin.yaml")


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    changes = {
        "instrument.hardware": "a.cfg",
        "instrument.replay": {"folder": "../stacks"},
        "detector.weights": "w.safetensors",
        "recorder.keys": {"public": "keys/p", "secret": str(tmp_path / "elsewhere" / "s")},
        "scan.samples": "s.csv",
    }
    config = night(tmp_path, changes)
    assert config.instrument.hardware == tmp_path / "a.cfg"
    assert config.instrument.adapters is None
    assert config.instrument.replay is not None
    assert config.instrument.replay.folder == tmp_path.parent / "stacks"
    assert config.detector.weights == tmp_path / "w.safetensors"
    assert config.recorder.keys is not None
    assert config.recorder.keys.public == tmp_path / "keys" / "p"
    assert config.recorder.keys.secret == tmp_path / "elsewhere" / "s"
    assert config.scan.samples == tmp_path / "s.csv"


def test_replays_of_version_0_2_load_and_what_they_froze_thaws(tmp_path: Path) -> None:
    earlier = {"folder": "x", "layout": "planes", "pattern": "*.tif", "field_pattern": r"plane-(?P<z>\d+)\.tif$"}
    config = night(tmp_path, {"instrument.replay": earlier})
    assert config.instrument.replay is not None
    assert config.instrument.replay.planes == "*plane-{z}.tif"
    frozen = freeze(config).replace("    planes: '*plane-{z}.tif'\n    polarizations: []\n", "    layout: stacks\n")
    assert "layout: stacks" in frozen
    thawed = thaw(frozen)
    assert thawed is not None
    assert thawed.instrument.replay is not None
    assert thawed.instrument.replay.planes == "{field}.tif"
    told = r"instrument\.replay is .*, but layout, field_pattern are keys of version 0\.2; write planes instead"
    with pytest.raises(Refused, match=told):
        night(tmp_path, {"instrument.replay": {"folder": "x", "layout": "planes", "field_pattern": "(a|b)"}})


def test_the_shipped_weights_are_a_name_not_a_path(tmp_path: Path) -> None:
    assert night(tmp_path).detector.weights == "slim"


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGS.glob("*.yaml")))
def test_shipped_configurations_load_and_survive_freezing(name: str, tmp_path: Path) -> None:
    config = load(CONFIGS / name)
    frozen = tmp_path / "run.yaml"
    frozen.write_text(freeze(config, {"lamelle": "0.1.0", "python": "3.11"}), encoding="utf-8")
    assert frozen.read_text(encoding="utf-8").startswith("# lamelle 0.1.0\n# python 3.11\ninstrument:\n")
    assert load(frozen) == config
    assert differences(config, load(frozen)) == []


def test_a_changed_configuration_is_refused_with_key_and_both_values(tmp_path: Path) -> None:
    before = night(tmp_path)
    now = night(tmp_path, {"scan.step_um": 0.4, "scan.slides.1.z_um": 2.0, "detector.threshold": 0.7})
    assert differences(before, now) == ["scan.slides[1].z_um", "scan.step_um", "detector.threshold"]
    require_same(before, before, tmp_path)
    with pytest.raises(Refused) as refused:
        require_same(before, now, tmp_path / "run")
    for part in ("scan.slides[1].z_um is 2.0", "begun with 0.0", "2 more keys", "new folder"):
        assert part in str(refused.value)


def test_a_night_goes_on_with_others_who_are_reached(tmp_path: Path) -> None:
    keys = {"public": "p.key", "secret": "s.key"}
    elsewhere = {"recorder.endpoint": "tcp://192.0.2.1:5555", "recorder.keys": keys | {"server": "wrong.key"}}
    moved = {"recorder.endpoint": "tcp://192.0.2.2:5555", "recorder.keys": keys | {"server": "right.key"}}
    told = {"alerts.disk_gb": 1.0, "control.endpoint": "tcp://127.0.0.1:*", "watch.publish": "tcp://127.0.0.1:7000"}
    before, now = night(tmp_path, elsewhere), night(tmp_path, moved | told)
    expected = {"recorder.endpoint", "recorder.keys.server", *told}
    assert set(require_same(before, now, tmp_path)) == expected
    for one, other in ((before, night(tmp_path)), (night(tmp_path), before)):
        with pytest.raises(Refused, match=r"recorder\.endpoint is .* begun with"):
            require_same(one, other, tmp_path)
    with pytest.raises(Refused, match=r"recorder\.spool_mb"):
        require_same(before, night(tmp_path, elsewhere | {"recorder.spool_mb": 100}), tmp_path)


def test_another_number_of_slides_is_one_difference(tmp_path: Path) -> None:
    before, now = night(tmp_path), night(tmp_path, {"scan.slides.7": REMOVED})
    assert differences(before, now) == ["scan.slides"]


def shown(default: object) -> object:
    """What a file would say instead of a default: words of an enumeration are written as they are."""
    if isinstance(default, tuple):
        return tuple(one.value if isinstance(one, Enum) else one for one in default)
    return default


def test_every_key_is_documented_with_its_default() -> None:
    rows: dict[str, list[str]] = {}
    for line in DOCUMENT.read_text(encoding="utf-8").partition("## The sample sheet")[0].splitlines():
        if line.startswith("| `"):
            key, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            assert key not in rows
            rows[key.strip("`")] = cells
    keys = dict(keys_of(NightConfig))
    leaves = [key for key in keys if not any(other.startswith((f"{key}.", f"{key}[")) for other in keys)]
    assert sorted(rows) == sorted(leaves)
    for key in leaves:
        default, _, meaning = rows[key]
        assert default == ("required" if keys[key].is_required() else f"`{shown(keys[key].default)}`"), key
        assert meaning, key


def test_every_counting_column_is_documented() -> None:
    text = DOCUMENT.read_text(encoding="utf-8").partition("## The sample sheet")[2]
    for name, column in COUNTING.items():
        assert any(line.startswith(f"| `{name}` |") and column.meaning in line for line in text.splitlines())
