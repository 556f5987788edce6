"""Objects of a night that a person named for sure become specimens of a library; of all others it is told why not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from daemon.dataset.field_file import read_field_file
from daemon.dataset.labels import Label, LabelStatus, Qualifier, label_store, label_table
from daemon.dataset.reader import Dataset
from daemon.dataset.standing import content_of
from daemon.library.build import Built, build
from daemon.library.library import Library
from daemon.library.sources.pictures import PictureSettings
from daemon.records.objects import ObjectName
from daemon.records.records import FieldSecured
from tests.support.small_dataset import NIGHT, make_dataset, sample_of

QUIET = Console(quiet=True)


def said(
    field: FieldSecured,
    number: int,
    taxon: str | None,
    second: int = 0,
    status: LabelStatus = LabelStatus.VALIDATED,
    who: str | None = "AB",
    qualifier: Qualifier | None = None,
    content: str = "",
) -> Label:
    return Label(
        night=NIGHT,
        slide=field.slide,
        field=field.field,
        attempt=1,
        number=number,
        content=content or content_of(field.files[0].sha256, number),
        utc=datetime(2026, 11, 22, 9, 0, second, tzinfo=UTC),
        status=status,
        taxon=taxon,
        qualifier=qualifier,
        who=who,
    )


def label(folder: Path, *labels: Label) -> None:
    with Dataset.open(folder) as dataset:
        label_store(dataset).add(label_table(labels))


def built(tmp_path: Path) -> Built:
    return build(tmp_path / "library", [tmp_path / "night"], PictureSettings(), None, QUIET)


def test_what_a_person_named_is_taken_with_its_stack_and_origin(tmp_path: Path) -> None:
    first, *_ = make_dataset(tmp_path / "night")
    label(tmp_path / "night", said(first, 1, "gephyrocapsa"), said(first, 2, "Emiliania"))
    assert built(tmp_path).taken.total() == 2
    examples = {one.taxon: one for one in Library.open(tmp_path / "library").examples()}
    one = examples["gephyrocapsa"]
    assert one.key == str(ObjectName(NIGHT, first.slide, first.field, 1, 1))
    assert (one.sample, one.slide) == (sample_of(first.slide), f"{NIGHT}/slide-1")
    assert one.day == datetime.fromtimestamp(first.exposed_utc, UTC).date().isoformat()
    with read_field_file(tmp_path / "night" / first.files[0].name) as file:
        crop = file.crop(next(row for row in file.objects if row.number == 1))
    specimen = one.read()
    np.testing.assert_array_equal(specimen.stack, crop)
    assert specimen.states == first.polarizations
    assert specimen.step_um == first.step_um
    assert specimen.focus_plane is not None


def test_a_night_that_is_named_from_where_one_stands_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_ = make_dataset(tmp_path / "night")
    label(tmp_path / "night", said(first, 1, "gephyrocapsa"))
    monkeypatch.chdir(tmp_path)
    build(Path("library"), [Path("night")], PictureSettings(), None, QUIET)
    (one,) = Library.open(Path("library")).examples()
    assert one.read().stack.size


def test_what_is_not_sure_is_left_out_and_told_why(tmp_path: Path) -> None:
    first, second, *_ = make_dataset(tmp_path / "night")
    label(
        tmp_path / "night",
        said(first, 1, "a", status=LabelStatus.PREDICTED, who=None),
        said(first, 2, "a", status=LabelStatus.DUBIOUS),
        said(first, 3, "a", qualifier=Qualifier.CONFER),
        said(first, 4, None, status=LabelStatus.DISCARDED),
        said(second, 1, "a"),
        said(second, 1, "b", second=1, who="CD"),
        said(second, 2, "a", content="ab" * 32),
        said(second, 3, "a"),
    )
    told = built(tmp_path)
    assert told.taken.total() == 1
    why = {name.rpartition("field-")[2]: text for name, text in told.left_out.items()}
    assert {name: why[name] for name in sorted(why)} == {
        "0001/attempt-1/001": "is predicted, not validated",
        "0001/attempt-1/002": "is dubious, not validated",
        "0001/attempt-1/003": "is named with cf.",
        "0001/attempt-1/004": "is discarded, not validated",
        "0002/attempt-1/001": "is called different names by different persons",
        "0002/attempt-1/002": "is labelled, but not, or no longer, what this dataset holds",
    }


def test_a_later_word_changes_the_library_and_a_night_may_move(tmp_path: Path) -> None:
    first, *_ = make_dataset(tmp_path / "night")
    label(tmp_path / "night", said(first, 1, "a"), said(first, 2, "a"))
    built(tmp_path)
    label(tmp_path / "night", said(first, 1, "b", second=5), said(first, 2, None, 6, status=LabelStatus.DISCARDED))
    told = built(tmp_path)
    assert (told.taken.total(), told.dropped.total()) == (1, 1)
    assert [one.taxon for one in Library.open(tmp_path / "library").examples()] == ["b"]
    (tmp_path / "night").rename(tmp_path / "moved")
    build(tmp_path / "library", [tmp_path / "moved"], PictureSettings(), None, QUIET)
    (example,) = Library.open(tmp_path / "library").examples()
    assert example.read().stack.shape[0] == len(first.polarizations)
