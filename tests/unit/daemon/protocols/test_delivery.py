from __future__ import annotations

import re
from contextlib import closing, suppress
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.protocols import delivery
from daemon.recorder.session import Reception
from daemon.records.names import field_file
from daemon.records.records import AnyRecord, FileEntry, FocusResult, ObjectRow, SourceFile, encode
from daemon.system.errors import ProtocolViolation
from tests.support import small_night as night
from tests.support.places import ROOT

PROTOCOL = ROOT / "docs" / "protocol.md"

numbers = st.integers(0, 2**53 - 1)
sessions = st.integers(1, 2**53 - 1)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
from_sender = st.one_of(
    st.builds(delivery.Hello, session=sessions, night=st.text(min_size=1, max_size=200), window=sessions),
    st.builds(delivery.RecordFollows, session=sessions, seq=sessions),
    st.builds(delivery.ChunkFollows, session=sessions, seq=sessions, file=numbers, offset=numbers),
    st.builds(delivery.Beat, session=sessions),
)
from_recorder = st.one_of(
    st.builds(
        delivery.Welcome,
        session=sessions,
        acknowledged=numbers,
        digest=st.none() | digests,
        parts=st.dictionaries(digests, numbers, max_size=4),
        limit=numbers,
    ),
    st.builds(delivery.Credit, session=sessions, limit=numbers),
    st.builds(delivery.Ack, session=sessions, seq=numbers),
    st.builds(
        delivery.Refuse,
        session=numbers,
        code=st.text(max_size=40),
        reason=st.text(max_size=1000),
        retry=st.booleans(),
        violations=numbers,
    ),
)


@given(from_sender, st.binary(min_size=1, max_size=100))
def test_a_sender_s_message_comes_out_as_it_went_in(message: delivery.FromSender, payload: bytes) -> None:
    given_payload = payload if isinstance(message, delivery.RecordFollows | delivery.ChunkFollows) else None
    assert delivery.decode_from_sender(delivery.encode(message, given_payload)) == (message, given_payload or b"")


@given(from_recorder)
def test_a_recorder_s_message_comes_out_as_it_went_in(message: delivery.FromRecorder) -> None:
    assert delivery.decode_from_recorder(delivery.encode(message)) == message


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_any_bytes_are_a_message_or_a_violation(frames: list[bytes]) -> None:
    for decode in (delivery.decode_from_sender, delivery.decode_from_recorder):
        for prefix in (b"", delivery.PREFIX):
            with suppress(ProtocolViolation):
                decode([prefix + frames[0], *frames[1:]] if frames else frames)


_SESSION = 4242424242
NESTED = b"\x82\xa4kind\xa5event\xa4more" + b"\x91" * 100_000 + b"\x00"
hello = {"type": "hello", "session": 7, "night": "n", "window": 1000}


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"LML"],
        [b"LML" + bytes([delivery.VERSION + 1]) + msgspec.msgpack.encode(hello)],
        [b"XYZ" + bytes([delivery.VERSION]) + msgspec.msgpack.encode(hello)],
        [delivery.PREFIX + msgspec.msgpack.encode(hello | {"session": 0})],
        [delivery.PREFIX + msgspec.msgpack.encode(hello | {"session": "7"})],
        [delivery.PREFIX + msgspec.msgpack.encode(hello | {"session": 2**53})],
        [delivery.PREFIX + msgspec.msgpack.encode(hello | {"window": 10.0})],
        [delivery.PREFIX + msgspec.msgpack.encode(hello | {"night": "n" * 201})],
        [delivery.PREFIX + msgspec.msgpack.encode(hello | {"more": 1})],
        [delivery.PREFIX + msgspec.msgpack.encode(hello | {"type": "welcome"})],
        [delivery.PREFIX + msgspec.msgpack.encode(hello).replace(b"hello", b"h\xffllo")],
        [delivery.PREFIX + msgspec.msgpack.encode(hello).replace(b"\xa1n", b"\xa1\xff")],
        [delivery.PREFIX + b"\x91" * 10_000],
        delivery.encode(delivery.RecordFollows(session=_SESSION, seq=1), NESTED),
        delivery.encode(
            delivery.RecordFollows(session=_SESSION, seq=1), encode(night.event("x")).replace(b"\xa1x", b"\xa1\xff")
        ),
        delivery.encode(delivery.RecordFollows(session=_SESSION, seq=1), b"noise"),
        [delivery.PREFIX + msgspec.msgpack.encode(hello), b"payload"],
        [delivery.PREFIX + msgspec.msgpack.encode(hello) + bytes(delivery.MAX_HEADER_BYTES)],
        delivery.encode(delivery.RecordFollows(session=7, seq=1)),
        delivery.encode(delivery.RecordFollows(session=7, seq=1), b""),
        delivery.encode(delivery.RecordFollows(session=7, seq=1), bytes(delivery.MAX_PAYLOAD_BYTES + 1)),
        [*delivery.encode(delivery.RecordFollows(session=7, seq=1), b"x"), b"third"],
    ],
    ids=range(23),
)
def test_a_malformed_message_is_refused_counted_and_changes_nothing(tmp_path: Path, frames: list[bytes]) -> None:
    data = b"0123456789"
    record = night.secured(1, 1, (night.entry(field_file(1, 1), data),))
    with closing(Reception(tmp_path / "dataset")) as reception:
        _begin(reception, record)
        before = _state(tmp_path)
        (answer,) = reception.handle(b"peer", frames)
        assert isinstance(answer, delivery.Refuse)
        assert (answer.code, answer.retry, answer.violations) == ("violation", False, 1)
        assert _state(tmp_path) == before
        _finish(reception, data)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"peer", b"other"]),
            st.one_of(
                from_sender.map(lambda message: delivery.encode(message)),
                st.tuples(from_sender, st.binary(max_size=20)).map(lambda pair: delivery.encode(*pair)),
                st.lists(st.binary(max_size=40), max_size=3),
                st.binary(max_size=60).map(lambda tail: [delivery.PREFIX + tail]),
            ),
        ),
        max_size=8,
    )
)
@pytest.mark.slow
def test_hostile_messages_leave_a_session_and_its_dataset_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, hostile: list[tuple[bytes, list[bytes]]]
) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    data = b"0123456789"
    with closing(Reception(folder / "dataset")) as reception:
        _begin(reception, night.secured(1, 1, (night.entry(field_file(1, 1), data),)))
        before = _state(folder)
        for peer, frames in hostile:
            for answer in reception.handle(peer, frames):
                assert isinstance(answer, delivery.Refuse)
        assert _state(folder) == before
        _finish(reception, data)


def test_the_documented_example_is_what_goes_over_the_wire() -> None:
    text = PROTOCOL.read_text("utf-8")
    block = text.split("<!-- example: chunk -->")[1].split("```")[1].partition("\n")[2]
    octets = bytes.fromhex("".join(line.partition("#")[0] for line in block.splitlines()))
    expected = delivery.encode(delivery.ChunkFollows(session=4711, seq=2, file=0, offset=1_048_576), b"II*\0")
    assert octets == b"".join(expected)


STRUCTS = [
    *get_args(AnyRecord),
    FileEntry,
    ObjectRow,
    FocusResult,
    SourceFile,
    *get_args(delivery.FromSender),
    *get_args(delivery.FromRecorder),
]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_the_document_names_every_key(struct: type[msgspec.Struct]) -> None:
    tag = struct.__struct_config__.tag
    parts = {
        FileEntry: "each of `files`",
        ObjectRow: "each of `objects`",
        FocusResult: "`focus`",
        SourceFile: "each of `sources`",
    }
    name = parts.get(struct, f"`{tag}`")
    lines = PROTOCOL.read_text("utf-8").splitlines()
    documented = [set(re.findall(r"`(\w+)`", line)) for line in lines if line.startswith(f"| {name} |")]
    assert any(keys >= set(struct.__struct_fields__) for keys in documented)


def _begin(reception: Reception, record: AnyRecord) -> None:
    """Start a night and half of a record's file."""
    reception.handle(
        b"peer", delivery.encode(delivery.Hello(session=_SESSION, night=night.started().night, window=10_000))
    )
    started = delivery.RecordFollows(session=_SESSION, seq=1)
    (ack,) = reception.handle(b"peer", delivery.encode(started, encode(night.started())))
    assert ack == delivery.Ack(session=_SESSION, seq=1)
    assert (
        reception.handle(b"peer", delivery.encode(delivery.RecordFollows(session=_SESSION, seq=2), encode(record)))
        == []
    )
    chunk = delivery.ChunkFollows(session=_SESSION, seq=2, file=0, offset=0)
    assert reception.handle(b"peer", delivery.encode(chunk, b"01234")) == []


def _finish(reception: Reception, data: bytes) -> None:
    chunk = delivery.ChunkFollows(session=_SESSION, seq=2, file=0, offset=5)
    assert delivery.Ack(session=_SESSION, seq=2) in reception.handle(b"peer", delivery.encode(chunk, data[5:]))


def _state(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
