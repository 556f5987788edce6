"""The morning page's server: what it tells of nights, what it draws of them, and what it refuses."""

from __future__ import annotations

import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from daemon.report.report import report
from daemon.system.errors import Refused
from daemon.view.actions import FIELD_ACTIONS, Action, ActionTarget
from daemon.view.application import REPORT_POLICY
from daemon.view.command import view
from daemon.view.nights import ShownNights
from daemon.web.access import Door
from tests.support.a_monitor import TOKEN
from tests.support.a_view import ServedView, viewing
from tests.support.asking import ask, exchange, hung_up
from tests.support.deadlines import DEADLINE_S
from tests.support.pictured_night import (
    CROP_PX,
    FRAME_PX,
    OBJECTS,
    PLANES,
    append,
    make_pictured_night,
    picture,
    write_field,
)
from tests.support.places import ROOT
from tests.support.rights import closed, for_everybody
from tests.support.small_night import until

ODD = "night <of> [red]tests"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nights")
    make_pictured_night(folder / "first", night="N")
    make_pictured_night(folder / "odd", night=ODD)
    return folder


@pytest.fixture
def served(folders: Path) -> Iterator[ServedView]:
    with viewing([folders]) as one:
        one.wait()
        yield one


def told(served: ServedView, path: str) -> Any:
    status, body, _ = ask(served, path)
    assert status == 200, (path, body)
    return json.loads(body)


def pixels(served: ServedView, path: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    status, body, headers = ask(served, path)
    assert (status, headers["content-type"]) == (200, "image/jpeg"), (path, body)
    return np.asarray(Image.open(io.BytesIO(body)))


# What it tells ------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_verdict_and_what_needs_a_person_are_the_reports_own(served: ServedView, folders: Path) -> None:
    report(folders / "first", folders / "seen.html", None)
    page = re.sub(r"\s+", " ", html.unescape((folders / "seen.html").read_text("utf-8")))
    night = told(served, f"/data/night/{served.key('N')}")
    assert night["verdict"]["needs"]
    for sentence in (night["verdict"]["headline"], *night["verdict"]["needs"], night["said"]["counted"]):
        assert sentence in page, sentence
    for row in night["said"]["samples"]["rows"]:
        assert all(cell in page for cell in row), row


def test_a_night_tells_how_it_stands_and_every_field(served: ServedView) -> None:
    first, odd = told(served, "/data/nights")["nights"]
    assert (first["night"], odd["night"], odd["read"], odd["trouble"]) == ("N", ODD, True, "")
    night = told(served, f"/data/night/{served.key(ODD)}")
    assert night["verdict"]["headline"] == "Complete: 5 of 6 fields recorded, 1 skipped, 15 objects."
    assert night["verdict"]["needs"] == [
        "Look at what kept 1 field of mini-slide 2 from being recorded: stage stuck: it did not arrive."
    ]
    one, two = night["slides"]
    assert [field[1] for field in one["fields"] + two["fields"]] == ["recorded"] * 5 + ["skipped"]
    assert [field[4] for field in one["fields"]] == [3, 3, 3]
    assert [row[0] for row in night["said"]["samples"]["rows"]] == ["1 \u00b7 core-1", "2 \u00b7 core-2"]


def test_a_field_tells_its_objects_and_whether_a_picture_was_kept(served: ServedView) -> None:
    key = served.key(ODD)
    kept, other = (told(served, f"/data/field/{key}/1/{field}") for field in (1, 2))
    assert (kept["night"], kept["picture"], other["picture"]) == (ODD, "kept", "crops")
    assert [one["standing"] for one in kept["objects"]] == ["counted"] * 3 + ["below threshold"]
    assert kept["objects"][0]["called"] == {
        "taxon": "emiliania-huxleyi", "name": "Emiliania huxleyi", "probability": 0.99, "who": "",
    }  # fmt: skip
    assert (kept["neighbours"], other["neighbours"]) == ([None, 2], [1, 3])
    assert ask(served, f"/picture/field/{key}/1/1/1")[1] == picture()
    drawn = pixels(served, f"/picture/field/{key}/1/2/1").astype(int)
    assert drawn.shape == (FRAME_PX, 2 * FRAME_PX), "both states side by side"
    dark, bright = drawn[:, :FRAME_PX], drawn[:, FRAME_PX:]
    inside, between = (slice(115, 125), slice(25, 35)), (slice(0, 60), slice(0, 60))
    assert dark[inside].mean() > 150 > 60 > dark[between].mean()
    assert bright[inside].mean() < bright[102:108, 12:18].mean()
    skipped = told(served, f"/data/field/{key}/2/3")
    assert (skipped["state"], skipped["objects"], "did not arrive" in skipped["reason"]) == ("skipped", [], True)


def test_an_object_is_shown_through_all_its_planes_in_one_grey_scale(served: ServedView) -> None:
    key = served.key("N")
    one = told(served, f"/data/object/{key}/1/2/1/0")
    assert (one["name"], one["pixel_um"], one["best_plane"]) == ("N/slide-1/field-0002/attempt-1/000", 0.1, 2.0)
    assert one["crop_px"] == [CROP_PX, CROP_PX]
    measured = dict(row for _, rows in one["measures"] for row in rows)
    assert (measured["length"], measured["mass"]) == ("3.00 \u00b5m", "2.50 \u00b1 0.25 pg")
    dark = [pixels(served, f"/picture/plane/{key}/1/2/1/0/0/{plane}") for plane in range(PLANES)]
    light = [int(plane[14:26, 14:26].mean()) for plane in dark]
    assert light == sorted(light[:3]) + sorted(light[3:], reverse=True)
    assert light[2] > light[1] > light[0] > 40, "what is less bright is shown less bright"
    ground = [int(plane[:8, :8].mean()) for plane in dark]
    assert max(ground) - min(ground) <= 3, "one grey scale: the ground is as dark in every plane"
    assert ask(served, f"/picture/plane/{key}/1/2/1/0/0/{PLANES}")[0] == 404
    assert ask(served, f"/picture/plane/{key}/1/2/1/0/2/0")[0] == 404
    assert told(served, f"/data/object/{key}/1/2/1/1?sort=doubt")["order"]["at"] == 2


def test_an_object_without_light_is_not_blown_up_to_noise(served: ServedView, tmp_path: Path) -> None:
    key = served.key("N")
    tile = pixels(served, f"/picture/object/{key}/1/2/1/0/0").astype(int)
    noise = tile[:8, :8]
    assert noise.std() < 12 < tile.std()


def test_a_gallery_is_told_in_pages(served: ServedView) -> None:
    first = told(served, "/data/objects?count=4")
    assert (first["total"], len(first["objects"])) == (2 * 5 * 3, 4)
    rest = told(served, "/data/objects?first=4&count=400")
    assert len(rest["objects"]) == first["total"] - 4
    assert told(served, "/data/objects?first=1000")["objects"] == []
    for bad in ("sort=size", "slide=x", "first=-1", "count=1e9", "colour=red", "score=nan1", "kept=none"):
        assert ask(served, f"/data/objects?{bad}")[0] == 400, bad
    assert told(served, f"/data/objects?night={served.key(ODD)}")["total"] == 5 * 3
    assert told(served, "/data/choices")["polarizations"] == ["crossed", "parallel"]


# Datasets as they are found ----------------------------------------------------------------------------------------


def test_damaged_and_missing_files_are_told_in_a_sentence_and_the_rest_is_shown(tmp_path: Path) -> None:
    make_pictured_night(tmp_path / "d")
    (tmp_path / "d/slide-1/field-0001.ome.tif").write_bytes(b"no TIFF")
    (tmp_path / "d/slide-1/field-0001-picture.jpg").write_bytes(b"no picture")
    (tmp_path / "d/slide-1/field-0002.ome.tif").unlink()
    shutil.copy(tmp_path / "d/slide-1/field-0003.ome.tif", tmp_path / "other.tif")
    make_pictured_night(tmp_path / "e", night="another")
    shutil.copy(tmp_path / "e/slide-1/field-0003.ome.tif", tmp_path / "d/slide-1/field-0003.ome.tif")
    with viewing([tmp_path / "d"]) as served:
        served.wait()
        key = served.key("N")
        assert "The dataset has" in told(served, f"/data/night/{key}")["verdict"]["needs"][0]
        for path, said in (
            ("picture/field/{}/1/1/1", "is no picture; fetch it again"),
            ("picture/plane/{}/1/1/1/0/0/0", "is not a TIFF file"),
            ("picture/object/{}/1/2/1/0/both", "is missing though the catalog lists it"),
            ("picture/field/{}/1/2/1", "is missing though the catalog lists it"),
            ("picture/plane/{}/1/3/1/0/0/0", "is of night 'another', not of 'N'"),
        ):
            status, body, _ = ask(served, "/" + path.format(key))
            assert (status, said in body.decode()) == (422, True), (path, body)
        field = told(served, f"/data/field/{key}/1/2")
        assert "is missing" in field["damage"]
        assert len(field["objects"]) == OBJECTS, "what the catalog says is there"
        assert pixels(served, f"/picture/object/{key}/2/1/1/0/both").size


def test_a_dataset_that_may_only_be_read_is_shown_and_left_as_it_is() -> None:
    with for_everybody() as folder:
        make_pictured_night(folder / "d")
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        for path in (folder / "d").rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        (folder / "d").chmod(0o555)
        (folder / "shut").mkdir()
        try:
            with closed(folder / "shut"), viewing([folder / "d"]) as served:  # nobody, who may write nothing here
                served.wait()
                key = served.key("N")
                assert told(served, f"/data/night/{key}")["verdict"]["tone"] == "warning"
                assert pixels(served, f"/picture/plane/{key}/1/1/1/0/0/0").size
        finally:
            for path in (folder / "d", *(folder / "d").rglob("*")):
                path.chmod(0o755)
        (folder / "shut").rmdir()
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_night_that_goes_on_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.view.nights.LOOK_S", 0.05)
    make_pictured_night(tmp_path / "d", slides=1, fields=2, close=False)
    with viewing([tmp_path / "d"]) as served:
        served.wait()
        assert told(served, "/data/objects")["total"] == 6
        append(tmp_path / "d", write_field(tmp_path / "d", "N", 1, 3))
        until(lambda: told(served, "/data/objects")["total"] == 9, "the new field is not shown")
        key = served.key("N")
        until(lambda: len(told(served, f"/data/night/{key}")["slides"][0]["fields"]) == 3, "nor on the map")


def test_what_is_no_night_is_refused_and_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="holds no dataset of a night"):
        ShownNights([tmp_path])
    make_pictured_night(tmp_path / "good")
    shutil.copytree(tmp_path / "good", tmp_path / "twice")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/catalog.sqlite").write_bytes(b"no catalog at all" * 100)
    notes = ShownNights([tmp_path]).notes
    assert len(notes) == 2
    assert any("as" in note and "twice" in note for note in notes)


# What a person may do ----------------------------------------------------------------------------------------------


def test_an_action_is_offered_done_and_told(tmp_path: Path) -> None:
    done: list[tuple[ActionTarget, str, str]] = []

    def do(target: ActionTarget, who: str, typed: str) -> str:
        if not typed:
            raise Refused("a reason is wanted; write one")
        done.append((target, who, typed))
        return "done"

    make_pictured_night(tmp_path / "d")
    with viewing([tmp_path / "d"], actions=[Action("leave-out", "Leave out", "field", "Reason", do)]) as served:
        served.wait()
        key = served.key("N")
        assert told(served, f"/data/field/{key}/1/1")["actions"] == [
            {"name": "leave-out", "words": "Leave out", "of": "field", "asks": "Reason"}
        ]
        assert told(served, f"/data/object/{key}/1/1/1/0")["actions"] == []
        good = {"Origin": served.address, "Content_Type": "application/json"}
        body = json.dumps({"night": key, "slide": 1, "fields": "1", "typed": "oil"}).encode()
        assert ask(served, "/act/leave-out", body, **{**good, "Origin": "http://evil.example"})[0] == 403
        assert ask(served, "/act/leave-out", body, Content_Type="application/json")[0] == 403
        assert ask(served, "/act/leave-out", body, **{**good, "Content_Type": "text/plain"})[0] == 415
        assert ask(served, "/act/nothing", body, **good)[0] == 404
        for bad in (b"", b"{}", b"[" * 1500, b'{"night": 1}', b'{"night": "x", "slide": 1, "fields": 1}', b"\xff"):
            assert ask(served, "/act/leave-out", bad, **good)[0] == 400, bad
        assert ask(served, "/act/leave-out", b" " * 5000, **good)[0] == 413
        assert done == []
        status, answer, _ = ask(served, "/act/leave-out", body.replace(b"oil", b""), **good)
        assert (status, json.loads(answer)) == (409, {"done": False, "message": "a reason is wanted; write one"})
        status, answer, _ = ask(served, "/act/leave-out", body, **good)
        assert (status, json.loads(answer)["done"]) == (200, True)
    ((target, who, typed),) = done
    assert (target.slide, target.fields, target.number, who, typed) == (1, "1", None, "page at 127.0.0.1", "oil")


def test_fields_are_excluded_and_the_numbers_follow_until_that_is_taken_back(tmp_path: Path) -> None:
    make_pictured_night(tmp_path / "d")
    with viewing([tmp_path / "d"], actions=FIELD_ACTIONS) as served:
        served.wait()
        key = served.key("N")
        good = {"Origin": served.address, "Content_Type": "application/json"}

        def objects() -> str:
            return str(told(served, f"/data/night/{key}")["verdict"]["headline"])

        def marks() -> list[Any]:
            return [field[6] for field in told(served, f"/data/night/{key}")["slides"][0]["fields"]]

        def act(name: str, fields: str, typed: str = "") -> str:
            body = json.dumps({"night": key, "slide": 1, "fields": fields, "typed": typed}).encode()
            status, answer, _ = ask(served, f"/act/{name}", body, **good)
            assert (status, json.loads(answer)["done"]) == (200, True), answer
            return str(json.loads(answer)["message"])

        before = objects()
        assert "15 objects" in before
        assert marks() == [None] * 3
        assert act("exclude", "1-2", "oil") == "2 fields of mini-slide 1 are not counted"
        field = told(served, f"/data/field/{key}/1/1")
        assert field["judged"] == "not counted by page at 127.0.0.1: oil"
        assert "counted" not in {one["standing"] for one in field["objects"]}
        # A night that took long to read is not read again for long, but for a person's deed.
        until(lambda: "9 objects" in objects(), "the numbers follow", DEADLINE_S)
        mark = {"counted": False, "flagged": False, "person": True, "says": field["judged"]}
        assert marks() == [mark, mark, None]
        assert act("take-back", "1") == "1 field of mini-slide 1 is as before"
        assert act("take-back", "1-3") == "1 field of mini-slide 1 is as before"
        until(lambda: objects() == before, "the numbers are as before", DEADLINE_S)
        assert told(served, f"/data/field/{key}/1/1")["judged"] == ""
        body = json.dumps({"night": key, "slide": 1, "fields": ",".join(["1-999999"] * 200), "typed": "x"}).encode()
        assert ask(served, "/act/exclude", body, **good)[0] == 409


# Hostility ----------------------------------------------------------------------------------------------------------


def climbing(key: str) -> list[str]:
    """Addresses that lead nowhere."""
    return [
        "/file/../nights.py", "/file/..%2fnights.py", "/file/%2e%2e/nights.py", "/file/login.html", "/file/",
        "/file/main.js%00", "/file//etc/passwd", "/data/night/..", "/data/night/%2e%2e%2f", "/data/night/N",
        "/data/night/" + "x" * 300, f"/data/field/{key}/1/9", f"/data/field/{key}/1/-1", f"/data/field/{key}/../1",
        f"/data/field/{key}/1/1%00", f"/data/field/{key}/99999999999999999999/1", f"/data/object/{key}/1/1/1/99",
        f"/data/object/{key}/1/1/7/0", f"/picture/object/{key}/1/1/1/0/..%2f..", f"/picture/object/{key}/1/1/1/0/9",
        f"/report/{key}", f"/paper/{key}", f"/picture/plane/{key}/1/1/1/0/0/99", f"/picture/field/{key}/2/3/1",
        "/report/..%2f..%2fetc%2fpasswd", "//evil.example/", "/docs", "/openapi.json", "/%ff", "/login/..", "/act/",
        "/night/a/b", "/objects/", f"/field/{key}/1/x",
    ]  # fmt: skip


ODD_FOLDERS = (
    "two\nlines", "\u202eneddih\u2066", "a%2fb%00#?&;'\"<b>", "..hidden..", "e\u0301" * 80, "-rf --", " ", "bell\t\x07",
)  # fmt: skip


def test_a_night_in_a_folder_of_any_name_is_shown_and_judged(tmp_path: Path) -> None:
    """Names that systems other than Linux refuse are left out there."""
    odd = [*ODD_FOLDERS, *([os.fsdecode(b"caf\xe9\xff")] if sys.platform == "linux" else [])]
    nights = {}
    for number, name in enumerate(odd):
        with suppress(OSError):
            night = f"{name.encode('utf-8', 'replace').decode()} {number}"
            nights[name] = make_pictured_night(tmp_path / name, night=night, slides=1, fields=2)
    with viewing([tmp_path], actions=FIELD_ACTIONS) as served:
        served.wait()
        assert len(served.nights.shown) == len(nights) > 0
        for one in told(served, "/data/nights")["nights"]:
            key = one["key"]
            folder = served.nights.shown[key].folder
            assert re.fullmatch(r"[A-Za-z0-9-]+", key)
            assert one["trouble"] == ""
            assert told(served, f"/data/night/{key}")["slides"]
            assert ask(served, f"/picture/field/{key}/1/1/1")[1] == picture()
            assert pixels(served, f"/picture/object/{key}/1/1/1/0/both").size
            body = json.dumps({"night": key, "slide": 1, "fields": "1", "typed": "oil"}).encode()
            good = {"Origin": served.address, "Content_Type": "application/json"}
            assert ask(served, "/act/exclude", body, **good)[0] == 200
            (folder / "slide-1/field-0002.ome.tif").unlink()
            assert "is missing though" in told(served, f"/data/field/{key}/1/2")["damage"]
            assert ask(served, f"/picture/plane/{key}/1/2/1/0/0/0")[0] == 422


def test_no_address_leads_out_of_the_nights(served: ServedView) -> None:
    for path in climbing(served.key("N")):
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        head, _, body = exchange(served.port, request).partition(b"\r\n\r\n")
        assert re.match(rb"HTTP/1.1 404 ", head), (path, head)
        assert body == b"there is nothing here", path
    for method in ("PUT", "DELETE", "TRACE", "OPTIONS", "HEAD"):
        request = f"{method} /data/nights HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        assert re.match(rb"HTTP/1.1 405 ", exchange(served.port, request))
    assert ask(served, "/?" + "x" * 600)[0] == 414
    for host in ("evil.example", "127.0.0.1.evil.example", ""):
        assert ask(served, "/data/nights", Host=host)[0] == 421, host


def test_a_report_of_others_runs_nothing(tmp_path: Path) -> None:
    make_pictured_night(tmp_path / "d")
    (tmp_path / "d/report.html").write_text("<script>alert(1)</script>", "utf-8")
    with viewing([tmp_path / "d"]) as served:
        served.wait()
        key = served.key("N")
        assert told(served, f"/data/night/{key}")["report"]
        status, _, headers = ask(served, f"/report/{key}")
        assert (status, headers["content-security-policy"]) == (200, REPORT_POLICY)
        assert "script-src" not in REPORT_POLICY
        assert "sandbox" in REPORT_POLICY
        assert ask(served, f"/paper/{key}")[0] == 404


@pytest.fixture
def guarded(folders: Path) -> Iterator[ServedView]:
    with viewing([folders], Door(TOKEN)) as one:
        yield one


def test_with_a_token_nothing_but_the_login_is_served_without_it(guarded: ServedView) -> None:
    key = guarded.key("N")
    for path in (
        "/objects",
        "/data/nights",
        "/file/main.js",
        f"/picture/field/{key}/1/1/1",
        f"/report/{key}",
        "/act/x",
    ):
        assert ask(guarded, path)[:2] == (401, b"this needs the token"), path
    assert ask(guarded, "/")[2]["location"] == "/login"
    assert ask(guarded, "/data/nights", Authorization=f"Bearer {TOKEN}")[0] == 200


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "\x00", "get"]),
    start=st.sampled_from(["", "data/objects?", "data/field/", "picture/plane/", "act/", "report/"]),
    path=st.text(st.characters(codec="latin-1"), max_size=60),
    body=st.binary(max_size=100),
)
def test_nothing_random_is_let_in_or_fails(
    guarded: ServedView, served: ServedView, method: str, start: str, path: str, body: bytes
) -> None:
    request = f"{method} /{start}{path} HTTP/1.1\r\n".encode("latin-1") + b"Host: localhost\r\nConnection: close\r\n"
    for one, wanted in ((guarded, rb"HTTP/1.1 (4\d\d|303) "), (served, rb"HTTP/1.1 (2\d\d|4\d\d|303) ")):
        with hung_up():
            answer = exchange(one.port, request + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            assert re.match(wanted, answer) or answer == b"" or path == "login", answer[:200]


# The command --------------------------------------------------------------------------------------------------------


def test_the_command_serves_until_it_is_ended(folders: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "daemon", "view", folders / "first", folders / "odd", "--http", "127.0.0.1:0"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        (port,) = re.findall(r"open http://127\.0\.0\.1:(\d+)", process.stdout.readline())
        answer = exchange(int(port), b"GET /data/nights HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert ODD.encode() in answer
    finally:
        process.terminate()
        _, said = process.communicate(timeout=DEADLINE_S)
    assert "Traceback" not in said


def test_a_page_that_others_can_reach_without_a_token_is_refused(folders: Path) -> None:
    with pytest.raises(Refused, match="name a file with a token"):
        view([folders], "0.0.0.0:0", None, Console(quiet=True))
