from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
import zmq
import zmq.auth

from daemon.config.model import CurveKeys
from daemon.dataset.catalog import Catalog
from daemon.dataset.reader import Dataset
from daemon.delivery.sender import Sender
from daemon.protocols import delivery
from daemon.protocols.sockets import check_endpoint, is_local, secure
from daemon.recorder.server import run_recorder
from daemon.recorder.session import Reception
from daemon.records.names import field_file
from daemon.records.records import AnyRecord, FieldAnalysed, FieldSecured, FileEntry, encode
from daemon.run_folder.journal import Journal
from daemon.run_folder.spool import Spool
from daemon.system.errors import Refused
from tests.support import small_night as night
from tests.support.deadlines import DEADLINE_MS, DEADLINE_S

DATA = night.contents(1, 1, 1000)


class Client:
    """A sender's half of the protocol, said word by word."""

    def __init__(self, into: Path) -> None:
        self.reception = Reception(into)
        self.session = 0
        self.peer = b"peer"

    def say(self, message: delivery.FromSender, payload: bytes | None = None) -> list[delivery.FromRecorder]:
        return self.reception.handle(self.peer, delivery.encode(message, payload))

    def hello(self, name: str = "2026-11-21 A", window: int = 1 << 20) -> delivery.FromRecorder:
        self.session += 1
        (answer,) = self.say(delivery.Hello(session=self.session, night=name, window=window))
        return answer

    def record(self, seq: int, record: AnyRecord) -> list[delivery.FromRecorder]:
        return self.say(delivery.RecordFollows(session=self.session, seq=seq), encode(record))

    def chunk(self, seq: int, file: int, offset: int, data: bytes) -> list[delivery.FromRecorder]:
        return self.say(delivery.ChunkFollows(session=self.session, seq=seq, file=file, offset=offset), data)


@contextmanager
def client(into: Path, *, begun: bool = True) -> Iterator[Client]:
    talking = Client(into)
    with closing(talking.reception):
        talking.hello()
        if begun:
            assert talking.record(1, night.started()) == [delivery.Ack(session=1, seq=1)]
        yield talking


def first_field(*contents: bytes, field: int = 1) -> AnyRecord:
    names = [field_file(1, field), field_file(1, field, "raw")]
    files = tuple(night.entry(name, data) for name, data in zip(names, contents, strict=False))
    return night.secured(1, field, files)


def refusal(answers: list[delivery.FromRecorder]) -> tuple[str, bool]:
    (answer,) = answers
    assert isinstance(answer, delivery.Refuse)
    return answer.code, answer.retry


def test_a_file_begun_goes_on_behind_what_there_is_after_a_restart(tmp_path: Path) -> None:
    with client(tmp_path) as talking:
        assert talking.record(2, first_field(DATA)) == []
        assert talking.chunk(2, 0, 0, DATA[:400]) == []
    with client(tmp_path, begun=False) as talking:
        welcome = talking.hello()
        assert isinstance(welcome, delivery.Welcome)
        assert welcome.acknowledged == 1
        assert list(welcome.parts.values()) == [400]
        talking.record(2, first_field(DATA))
        assert delivery.Ack(session=talking.session, seq=2) in talking.chunk(2, 0, 400, DATA[400:])
        assert (tmp_path / field_file(1, 1)).read_bytes() == DATA


def test_a_file_begun_that_the_disk_has_damaged_is_begun_anew(tmp_path: Path) -> None:
    with client(tmp_path) as talking:
        talking.record(2, first_field(DATA))
        talking.chunk(2, 0, 0, DATA[:400])
        (part,) = (tmp_path / "incoming").iterdir()
        part.write_bytes(bytes(400))
        talking.hello()
        talking.record(2, first_field(DATA))
        assert refusal(talking.chunk(2, 0, 400, DATA[400:])) == ("part", True)
        welcome = talking.hello()
        assert isinstance(welcome, delivery.Welcome)
        assert welcome.parts == {}
        talking.record(2, first_field(DATA))
        assert delivery.Ack(session=talking.session, seq=2) in talking.chunk(2, 0, 0, DATA)


def test_a_record_is_acknowledged_only_when_all_its_files_are_there(tmp_path: Path) -> None:
    raw = night.contents(1, 1, 500, salt=1)
    with client(tmp_path) as talking:
        assert talking.record(2, first_field(DATA, raw)) == []
        assert talking.chunk(2, 0, 0, DATA) == []
        assert talking.chunk(2, 1, 0, raw[:499]) == []
        assert talking.chunk(2, 1, 499, raw[499:]) == [delivery.Ack(session=1, seq=2)]


def test_what_is_held_is_acknowledged_again_and_never_overwritten(tmp_path: Path) -> None:
    with client(tmp_path) as talking:
        talking.record(2, first_field(DATA))
        talking.chunk(2, 0, 0, DATA)
        assert talking.record(2, first_field(DATA)) == [delivery.Ack(session=1, seq=2)]
        assert talking.chunk(2, 0, 0, DATA) == []
        other = bytes(reversed(DATA))
        assert refusal(talking.record(2, first_field(other))) == ("conflict", False)
        talking.hello()
        assert refusal(talking.record(3, first_field(other))) == ("conflict", False)
        talking.hello()
        assert refusal(talking.record(3, night.skipped(1, 1))) == ("conflict", False)
        assert (tmp_path / field_file(1, 1)).read_bytes() == DATA


def test_a_file_of_unknown_origin_is_adopted_if_it_is_the_one_and_else_left_alone(tmp_path: Path) -> None:
    with client(tmp_path) as talking:
        (tmp_path / "slide-1").mkdir()
        (tmp_path / field_file(1, 1)).write_bytes(DATA)
        (tmp_path / field_file(1, 2)).write_bytes(b"a person's")
        talking.record(2, first_field(DATA))
        assert talking.chunk(2, 0, 0, DATA) == [delivery.Ack(session=1, seq=2)]
        talking.record(3, first_field(DATA, field=2))
        assert refusal(talking.chunk(3, 0, 0, DATA)) == ("conflict", False)
        assert (tmp_path / field_file(1, 2)).read_bytes() == b"a person's"


def test_what_comes_out_of_turn_ends_the_session_and_not_more(tmp_path: Path) -> None:
    with client(tmp_path) as talking:
        assert refusal(talking.record(3, night.event())) == ("gap", True)
        assert refusal(talking.record(2, night.event())) == ("no session", True)
        talking.hello()
        talking.record(2, first_field(DATA))
        assert refusal(talking.chunk(2, 0, 5, DATA[5:])) == ("gap", True)
        talking.hello()
        talking.record(2, first_field(DATA))
        assert refusal(talking.chunk(2, 0, 0, DATA + b"more")) == ("violation", False)
        assert talking.chunk(2, 0, 0, DATA) == [delivery.Ack(session=talking.session, seq=2)]


def test_what_is_found_later_is_no_record_of_the_night(tmp_path: Path) -> None:
    """A sender that never heard that its last record was taken in hears it, though the dataset has grown since."""
    kept = msgspec.structs.replace(night.secured(1, 1, (), objects=0), analysed=False)
    later = FieldAnalysed(
        utc=2.0, slide=1, field=1, device="cpu", versions={}, seconds={}, objects=(night.object_row(0),), files=()
    )
    with client(tmp_path) as talking:
        assert talking.record(2, kept) == [delivery.Ack(session=1, seq=2)]
        assert refusal(talking.record(3, later)) == ("record", False)
        talking.hello()
        talking.record(3, night.night_closed(1))
    with closing(Catalog(tmp_path)) as catalog:
        catalog.commit(4, encode(later))
        with pytest.raises(sqlite3.IntegrityError, match="is not waiting to be analysed"):
            catalog.commit(5, encode(later))
    with client(tmp_path, begun=False) as talking:
        welcome = talking.hello()
        assert isinstance(welcome, delivery.Welcome)
        assert (welcome.acknowledged, welcome.digest) == (3, sha256(encode(night.night_closed(1))).hexdigest())
        assert talking.record(3, night.night_closed(1)) == [delivery.Ack(session=talking.session, seq=3)]
    with Dataset.open(tmp_path) as dataset:
        (found,) = dataset.fields(1)
        assert isinstance(found, FieldSecured)
        assert (found.analysed, found.device, found.objects) == (True, "cpu", later.objects)


def test_no_more_bytes_are_taken_than_credit_was_given(tmp_path: Path) -> None:
    with client(tmp_path) as talking:
        talking.hello(window=100)
        body = encode(first_field(DATA))
        assert len(body) > 100
        (credit,) = talking.record(2, first_field(DATA))
        assert credit == delivery.Credit(session=talking.session, limit=len(body) + 100)
        assert talking.chunk(2, 0, 0, DATA[:10]) == []
        (credit,) = talking.chunk(2, 0, 10, DATA[10:40])
        assert credit == delivery.Credit(session=talking.session, limit=len(body) + 40 + 100)


@pytest.mark.parametrize(
    ("seq", "record"),
    [
        (2, night.started()),
        (2, night.skipped(1, 4)),
        (2, night.secured(3, 1, ())),
        (2, night.secured(1, 1, (night.entry(field_file(1, 2), DATA),))),
        (2, night.secured(1, 1, (night.entry("../../escape.ome.tif", DATA),))),
        (2, night.secured(1, 1, (FileEntry(name=field_file(1, 1), size=4, sha256="../" * 20 + "ab" * 2),))),
        (2, night.secured(1, 1, (FileEntry(name=field_file(1, 1), size=-4, sha256="ab" * 32),))),
    ],
)
def test_records_that_contradict_the_night_are_refused_for_good(tmp_path: Path, seq: int, record: AnyRecord) -> None:
    with client(tmp_path / "dataset") as talking:
        assert refusal(talking.record(seq, record)) == ("record", False)
        assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_a_file_larger_than_the_disk_is_refused_until_there_is_room(tmp_path: Path) -> None:
    with client(tmp_path) as talking:
        huge = FileEntry(name=field_file(1, 1), size=2**52, sha256="ab" * 32)
        assert refusal(talking.record(2, night.secured(1, 1, (huge,)))) == ("disk full", True)


def test_slides_without_their_catalog_are_not_recorded_over(tmp_path: Path) -> None:
    with client(tmp_path) as talking:
        talking.record(2, first_field(DATA))
        talking.chunk(2, 0, 0, DATA)
    (tmp_path / "catalog.sqlite").unlink()
    with pytest.raises(Refused, match=r"holds slides but no catalog\.sqlite"):
        Reception(tmp_path)


def test_a_dataset_has_one_recorder_and_one_night(tmp_path: Path) -> None:
    with night.recorder_thread(tmp_path), pytest.raises(Refused, match="in use by another recorder"):
        run_recorder("tcp://127.0.0.1:*", tmp_path, None, print, threading.Event())
    with client(tmp_path / "one") as talking:
        answer = talking.hello(name="another night")
        assert refusal([answer]) == ("other night", False)
        talking.session -= 1
        assert talking.record(2, night.event()) == [delivery.Ack(session=talking.session, seq=2)]


@pytest.mark.parametrize(
    ("endpoint", "local"),
    [
        ("tcp://127.0.0.1:5555", True),
        ("tcp://127.3.4.5:*", True),
        ("tcp://localhost:1", True),
        ("tcp://[::1]:1", True),
        ("ipc:///tmp/lamelle", True),
        ("tcp://*:5555", False),
        ("tcp://0.0.0.0:5555", False),
        ("tcp://192.168.1.4:5555", False),
        ("tcp://recorder.example.org:5555", False),
        ("tcp://127.0.0.1.example.org:5555", False),
    ],
)
def test_only_loopback_is_open_without_keys(endpoint: str, local: bool) -> None:
    assert is_local(endpoint) is local
    if local:
        check_endpoint(endpoint, None, "server")
    else:
        with pytest.raises(Refused, match="configure CURVE keys"):
            check_endpoint(endpoint, None, "server")


@pytest.mark.parametrize(
    "endpoint", ["", "127.0.0.1:5555", "http://127.0.0.1:80", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:99999"]
)
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(Refused, match=r"tcp://127\.0\.0\.1:5555"):
        check_endpoint(endpoint, None, "server")


def test_with_keys_a_known_client_is_served_and_a_stranger_is_not(tmp_path: Path) -> None:
    server, known, stranger = (_keys(tmp_path, name) for name in ("server", "known", "stranger"))
    serving = server.model_copy(update={"clients": known.public})
    bound, stop, endpoint = threading.Event(), threading.Event(), []

    def ready(where: str) -> None:
        endpoint.append(where)
        bound.set()

    arguments = ("tcp://127.0.0.1:*", tmp_path / "dataset", serving, ready, stop)
    thread = threading.Thread(target=run_recorder, args=arguments)
    thread.start()
    try:
        assert bound.wait(DEADLINE_S)
        journal = Journal.create(tmp_path / "journal.sqlite", night.started())
        own = known.model_copy(update={"server": server.public})
        sender = Sender(journal.path, Spool(tmp_path / "spool", 10**9), endpoint[0], emit=print, keys=own)
        sender.start()
        sender.stop(DEADLINE_S)
        assert journal.acknowledged() == 1
        journal.close()
        for keys, served in ((known, True), (stranger, False), (None, False)):
            shown = None if keys is None else keys.model_copy(update={"server": server.public})
            with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
                socket.linger = 0
                secure(socket, shown, "client")
                socket.connect(endpoint[0])
                socket.send_multipart(delivery.encode(delivery.Hello(session=1, night="n", window=10)))
                assert bool(socket.poll(DEADLINE_MS if served else 300)) is served
    finally:
        stop.set()
        thread.join(DEADLINE_S)
    assert not thread.is_alive()


def _keys(folder: Path, name: str) -> CurveKeys:
    public, secret = zmq.curve_keypair()
    paths = folder / f"{name}.public", folder / f"{name}.secret"
    for path, key in zip(paths, (public, secret), strict=True):
        path.write_bytes(key + b"\n")
    return CurveKeys(public=paths[0], secret=paths[1])
