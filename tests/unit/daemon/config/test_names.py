"""A night keeps the tables of its names, and does not go on with others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from daemon.config.loading import load
from daemon.config.model import NightConfig
from daemon.config.names import COUNTING_RULES, TAXONOMY, freeze_names, read_names, remove_names, require_same_names
from daemon.system.errors import Refused
from tests.support.configuration_files import shipped
from tests.support.places import CONFIGS


def config_in(folder: Path, *keys: str) -> NightConfig:
    for name in ("emulated.cfg", "samples.csv", "taxonomy.csv", "counting.csv"):
        shutil.copy(CONFIGS / name, folder / name)
    path = folder / "emulated.yaml"
    path.write_text(yaml.safe_dump(shipped()) + "".join(f"{key}\n" for key in keys), encoding="utf-8")
    return load(path)


BOTH = ("taxonomy: taxonomy.csv", "counting_rules: counting.csv")


def test_tables_are_frozen_and_may_be_saved_anew_but_not_say_something_else(tmp_path: Path) -> None:
    home, run = tmp_path / "home", tmp_path / "run"
    home.mkdir()
    run.mkdir()
    config = config_in(home, *BOTH)
    freeze_names(config, run)
    assert (run / TAXONOMY).read_bytes() == (home / "taxonomy.csv").read_bytes()
    assert config.taxonomy is not None
    text = config.taxonomy.read_text(encoding="utf-8")
    config.taxonomy.write_text(text.replace(",", ";"), encoding="utf-16")
    require_same_names(config, run)
    config.taxonomy.write_text(text.replace("coccoliths", "liths"), encoding="utf-8")
    with pytest.raises(Refused, match="has changed since the night began; put the table back"):
        require_same_names(config, run)
    config.taxonomy.write_text(text, encoding="utf-8")
    rules = home / "counting.csv"
    rules.write_text(rules.read_text(encoding="utf-8").replace("lith=1", "lith=2"), encoding="utf-8")
    with pytest.raises(Refused, match="counting_rules"):
        require_same_names(config, run)
    remove_names(run)
    assert not (run / TAXONOMY).exists()
    assert not (run / COUNTING_RULES).exists()


def test_a_night_without_names_knows_none(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    assert read_names(config).taxonomy is None
    freeze_names(config, tmp_path / "none")
    require_same_names(config, tmp_path / "none")


def test_a_detector_that_has_other_classes_and_rules_without_taxa_are_refused(tmp_path: Path) -> None:
    config = config_in(tmp_path, *BOTH)
    detector = config.detector.model_copy(update={"classes": ("microfossil",)})
    with pytest.raises(Refused, match=r"detector_class is 'coccolith'.*choose one of microfossil"):
        read_names(config.model_copy(update={"detector": detector}))
    with pytest.raises(Refused, match="set taxonomy too"):
        read_names(config.model_copy(update={"taxonomy": None}))
