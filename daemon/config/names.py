"""What a night names: its taxonomy and counting rules, as its configuration says, and as they were frozen into it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from daemon.config.counting import CountingRules, read_counting
from daemon.config.model import NightConfig
from daemon.config.taxonomy import Taxonomy
from daemon.config.taxonomy_sheet import read_taxonomy
from daemon.system.durable_files import replacing
from daemon.system.errors import Refused

TAXONOMY, COUNTING_RULES = "taxonomy.csv", "counting.csv"
"""Names of what is frozen into the folder of a night."""


@dataclass(frozen=True)
class Names:
    """The taxonomy of a night, and its counting rules; None for what it was not given."""

    taxonomy: Taxonomy | None = None
    rules: CountingRules | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What is allowed but worth a look, a sentence each."""
        return tuple(note for table in (self.taxonomy, self.rules) if table is not None for note in table.notes)


def read_names(config: NightConfig) -> Names:
    """Read and check the tables that a configuration names.

    Raises
    ------
    Refused
        One of them is wrong, or there are counting rules without the taxonomy that they speak of.
    """
    if config.taxonomy is None:
        if config.counting_rules is not None:
            raise Refused(
                f"counting_rules is {str(config.counting_rules)!r}, but there is no taxonomy whose taxa they are of; "
                "set taxonomy too"
            )
        return Names()
    taxonomy = read_taxonomy(config.taxonomy, config.detector.classes)
    return Names(taxonomy, None if config.counting_rules is None else read_counting(config.counting_rules, taxonomy))


def freeze_names(config: NightConfig, folder: Path) -> None:
    """Copy the tables of a night into its folder, byte for byte."""
    for path, name in _tables(config):
        with replacing(folder / name) as stream:
            stream.write(path.read_bytes())


def require_same_names(config: NightConfig, folder: Path) -> None:
    """Refuse to go on with a night whose tables say something else by now, however they are written.

    Raises
    ------
    Refused
        One of them has changed.
    """
    frozen = {"taxonomy": folder / TAXONOMY, "counting_rules": folder / COUNTING_RULES}
    then = read_names(config.model_copy(update={key: path for key, path in frozen.items() if path.exists()}))
    now = read_names(config)
    for key, one, other in (("taxonomy", then.taxonomy, now.taxonomy), ("counting_rules", then.rules, now.rules)):
        if one is not None and other is not None and one.sha256 != other.sha256:
            raise Refused(
                f"{key} {str(getattr(config, key))!r} has changed since the night began; put the table back to resume "
                "that night, or give --run a new folder"
            )


def remove_names(folder: Path) -> None:
    """Remove what `freeze_names` wrote."""
    for name in (TAXONOMY, COUNTING_RULES):
        (folder / name).unlink(missing_ok=True)


def _tables(config: NightConfig) -> list[tuple[Path, str]]:
    tables = [(config.taxonomy, TAXONOMY), (config.counting_rules, COUNTING_RULES)]
    return [(path, name) for path, name in tables if path is not None]
