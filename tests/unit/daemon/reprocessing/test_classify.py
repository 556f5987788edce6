"""A night is named again from the features it kept, by a head whose answers can be computed by hand."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

import lamelle
from daemon.cli.app import app
from daemon.config.taxonomy import Taxon, Taxonomy
from daemon.dataset.features import write_later_features
from daemon.dataset.later_tables import Given, later_tables, named_with
from daemon.reprocessing.classify import NamedAgain, classify_again
from daemon.system.errors import Refused
from inference.classification.encoder_file import EncoderFile, to_bytes
from inference.classification.head import Head
from inference.classification.sight import ClassifierSight
from inference.errors import WeightsRefused
from inference.settings import ClassifierSettings
from tests.support.small_classifier import write_classifier
from tests.support.small_dataset import NIGHT, make_dataset

ENCODER = "e" * 64
GENUS = Taxon("gephyrocapsa", "Gephyrocapsa", "genus")
FIRST = Taxon("gephyrocapsa-oceanica", "Gephyrocapsa oceanica", "species", "gephyrocapsa")
SECOND = Taxon("emiliania-huxleyi", "Emiliania huxleyi", "species")
TAXONOMY = Taxonomy((GENUS, FIRST, SECOND))


def head(threshold: float = 0.6, encoder: str = ENCODER, taxa: tuple[str, ...] = ()) -> Head:
    """Say with the logarithm of 9 to 1 which of two numbers of a vector is 1."""
    return Head(
        taxa=taxa or (FIRST.identifier, SECOND.identifier),
        parents={FIRST.identifier: GENUS.identifier},
        not_known={},
        encoder_sha256=encoder,
        weights=np.float32(np.log(9)) * np.eye(2, dtype=np.float32),
        bias=np.zeros(2, np.float32),
        temperature=1.0,
        share=np.full(2, 0.5, np.float32),
        threshold=threshold,
    )


def name(folder: Path, said: Head, taxonomy: Taxonomy | None = TAXONOMY, into: Path | None = None) -> NamedAgain:
    path = folder.parent / "head.safetensors"
    path.write_bytes(said.to_bytes())
    return classify_again(folder, ClassifierSettings(weights=path), Console(file=io.StringIO()), taxonomy, into)


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """Two mini-slides of two fields of four objects, with features of all but the last: 1 0, 0 1, or neither."""
    folder = tmp_path / "night"
    for field in make_dataset(folder):
        vectors = {1: (1, 0), 2: (0, 1), 3: (0, 0)}
        file = f"slide-{field.slide}/field-{field.field:04d}.ome.tif"
        made = {(file, number): np.array(vector, np.float16) for number, vector in vectors.items()}
        write_later_features(folder, field.slide, field.field, ENCODER, made)
    return folder


def test_each_object_gets_what_its_features_say(night: Path) -> None:
    again = name(night, head())
    # The tables of features that are there have the numbers 1 and 2.
    assert (again.number, again.rows, again.looked_at) == (3, 16, 0)
    ((why, count, first),) = again.unseen
    assert why.startswith(f"no features of encoder {ENCODER[:12]} are kept of it; name a classifier with its encoder")
    assert (count, str(first)) == (4, f"{NIGHT}/slide-1/field-0001/attempt-1/004")
    table = lamelle.open(night).objects(counted=False)
    assert table["taxon"].to_pylist() == [FIRST.identifier, SECOND.identifier, "unsure", None] * 4
    probabilities = [0.9, 0.9, 0.5, None] * 4
    assert table["taxon_probability"].to_pylist() == [None if p is None else pytest.approx(p) for p in probabilities]
    assert table["runner_up"].to_pylist()[:2] == [SECOND.identifier, FIRST.identifier]
    assert set(table["named_by"].to_pylist()) == {head().sha256, None}
    (path, _) = later_tables(night, Given.NAMED)[3]
    with_what = named_with(path)
    assert (with_what.encoder, Taxonomy.from_json(with_what.taxonomy)) == (ENCODER, TAXONOMY)
    # The third of four is below the threshold, the fourth another field's.
    assert again.taxa == {FIRST.identifier: 4, SECOND.identifier: 4}


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_features_that_are_no_numbers_are_as_if_not_kept(night: Path, value: float) -> None:
    wild = {("slide-1/field-0001.ome.tif", 1): np.array((value, 0), np.float16)}
    write_later_features(night, 1, 9, ENCODER, wild)
    again = name(night, head())
    assert sum(one.objects for one in again.unseen) == 5
    table = lamelle.open(night).objects(counted=False)
    assert table["taxon"].to_pylist()[:2] == [None, SECOND.identifier]
    assert table["taxon_probability"].to_pylist()[0] is None


def test_a_classifier_of_pictures_is_refused_before_names_are_overruled(night: Path) -> None:
    encoder = EncoderFile("small", ClassifierSight("picture", 32), {"projection": np.zeros((4, 2), np.float32)})
    path = night.parent / "pictures.safetensors"
    path.write_bytes(to_bytes(encoder, head(encoder=encoder.sha256)))
    with pytest.raises(WeightsRefused, match="looks at pictures, and the objects of a night are stacks"):
        classify_again(night, ClassifierSettings(weights=path), Console(file=io.StringIO()), TAXONOMY)
    assert not later_tables(night, Given.NAMED)


@pytest.mark.slow
def test_why_objects_could_not_be_looked_at_is_told_with_counts(tmp_path: Path) -> None:
    folder, weights = tmp_path / "night", tmp_path / "names.safetensors"
    make_dataset(folder, slides=1, objects=2, channels=3)
    write_classifier(weights)
    done = CliRunner().invoke(app, ["classify", str(folder), "--weights", str(weights)])
    assert done.exit_code == 0, done.output
    first, *_, last = done.output.splitlines()
    assert first.startswith("4 objects; 4 objects could not be looked at, and stay unnamed, in ")
    which = f"{NIGHT}/slide-1/field-0001/attempt-1/001"
    assert last.startswith(f"not looked at: 4, such as {which}: a specimen's states are crossed, parallel, third; give")


def test_a_better_head_names_again_and_overwrites_nothing(night: Path) -> None:
    name(night, head())
    other = replace(head(), weights=-head().weights)
    assert name(night, other).number == 4
    opened = lamelle.open(night)
    assert opened.objects(counted=False)["taxon"].to_pylist()[:2] == [SECOND.identifier, FIRST.identifier]
    assert opened.objects(counted=False, named=3)["taxon"].to_pylist()[:2] == [FIRST.identifier, SECOND.identifier]
    assert head().sha256 != other.sha256 != head(threshold=0.7).sha256


def test_features_stay_where_the_names_of_their_number_are_gone(night: Path, tmp_path: Path) -> None:
    name(night, head())
    for path in later_tables(night, Given.NAMED)[3]:
        path.unlink()
    write_later_features(night, 1, 3, ENCODER, {("slide-1/field-0001.ome.tif", 4): np.ones(2, np.float16)})
    before = (night / "slide-1" / "features-003.parquet").read_bytes()
    assert name(night, head()).number == 4
    assert (night / "slide-1" / "features-003.parquet").read_bytes() == before
    assert name(night, head(), into=tmp_path / "apart").number == 5


def test_what_no_species_is_sure_of_falls_back_to_its_genus(night: Path) -> None:
    other = Taxon("gephyrocapsa-ericsonii", "Gephyrocapsa ericsonii", "species", GENUS.identifier)
    parents = {FIRST.identifier: GENUS.identifier, other.identifier: GENUS.identifier}
    said = replace(head(taxa=(FIRST.identifier, other.identifier)), parents=parents)
    name(night, said, Taxonomy((GENUS, FIRST, other)))
    table = lamelle.open(night).objects(counted=False)
    assert table["taxon"].to_pylist()[:4] == [FIRST.identifier, other.identifier, GENUS.identifier, None]
    assert table["taxon_probability"].to_pylist()[2] == pytest.approx(1.0)


def test_nothing_finer_is_said_than_light_microscopy_tells(night: Path) -> None:
    lumped = tuple(changed_rank(taxon) for taxon in TAXONOMY.taxa)
    name(night, head(), Taxonomy(lumped))
    taxa = lamelle.open(night).objects(counted=False)["taxon"].to_pylist()
    assert taxa[:2] == [GENUS.identifier, SECOND.identifier]


def changed_rank(taxon: Taxon) -> Taxon:
    return replace(taxon, lm_rank="genus") if taxon.identifier.startswith("gephyrocapsa") else taxon


def test_a_merged_taxon_is_called_what_it_became(night: Path) -> None:
    merged = replace(SECOND, identifier="gephyrocapsa-huxleyi", synonyms=(SECOND.identifier,))
    name(night, head(), Taxonomy((GENUS, FIRST, merged)))
    assert lamelle.open(night).objects(counted=False)["taxon"].to_pylist()[1] == "gephyrocapsa-huxleyi"


def test_a_head_of_other_taxa_or_of_another_encoder_is_refused(night: Path) -> None:
    with pytest.raises(WeightsRefused, match="names taxon 'emiliania-huxleyi', which the taxonomy does not have"):
        name(night, head(), Taxonomy((GENUS, FIRST)))
    with pytest.raises(WeightsRefused, match="names taxon 'gephyrocapsa', which the taxonomy does not have"):
        name(night, head(), Taxonomy((replace(FIRST, parent=""), SECOND)))
    with pytest.raises(WeightsRefused, match=r"of encoder ffffffffffff, of which .* keeps no features"):
        name(night, head(encoder="f" * 64))
    assert later_tables(night, Given.NAMED) == {}


def test_tables_may_lie_elsewhere_and_a_night_of_nothing_is_refused(night: Path, tmp_path: Path) -> None:
    apart = tmp_path / "apart"
    assert name(night, head(), into=apart).folder == apart
    assert later_tables(night, Given.NAMED) == {}
    assert list(later_tables(apart, Given.NAMED)) == [3]
    make_dataset(tmp_path / "empty", objects=0)
    with pytest.raises(Refused, match="holds no objects"):
        name(tmp_path / "empty", head())
