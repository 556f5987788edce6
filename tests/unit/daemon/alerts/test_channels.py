"""Alerts on their way to a person: a local web server as Apprise's target, a program of the test's, a dead-man URL."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from daemon.alerts.channels import RETRY_S, Origin, Pending, deliver, read_channels, read_dead_man
from daemon.alerts.guard import try_alerts
from daemon.alerts.model import Alert
from daemon.config.loading import load
from daemon.config.model import Alerts
from daemon.planning.check import check
from daemon.system.errors import Refused
from tests.support.alert_target import SECRET, Target, alert_target
from tests.support.configuration_files import write

CRASHED = Alert(kind="crashed", text="The night's process has died.", utc=1_700_000_000.0)
HOSTILE = 'core "7"; $(touch x) & %PATH% `id` <b>\nSubject: other \x00 ünïcödé'


@pytest.fixture
def target() -> Iterator[Target]:
    with alert_target() as server:
        yield server


def settings(target: Target, folder: Path, **more: object) -> Alerts:
    return Alerts.model_validate({**target.write_addresses(folder), **more})


def test_an_alert_says_what_where_and_when_and_how_grave_it_is(target: Target, tmp_path: Path) -> None:
    (channel,) = read_channels(settings(target, tmp_path))
    assert channel.send(CRASHED, Origin("monday", tmp_path)) is None
    (message,) = target.messages
    assert (message["title"], message["type"]) == ("lamelle: crashed", "failure")
    for part in ("The night's process has died.", "monday", str(tmp_path), "2023-11-1"):
        assert part in message["message"]


def test_what_cannot_be_sent_waits_and_is_given_up_in_the_end(
    target: Target, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    channels = read_channels(settings(target, tmp_path))
    place, now = Origin("monday", tmp_path), 1000.0
    outbox: tuple[Pending, ...] = (Pending(alert=CRASHED, channel=channels[0].key),)
    target.refusing = True
    outbox, changed = deliver(outbox, channels, place, now)
    assert (len(outbox), changed, target.refused) == (1, True, 1)
    assert deliver(outbox, channels, place, now + RETRY_S[0] - 1) == (outbox, False)
    assert target.refused == 1
    target.refusing = False
    assert deliver(outbox, channels, place, now + RETRY_S[0]) == ((), True)
    assert target.kinds == ["crashed"]

    target.refusing = True
    outbox, tried = (Pending(alert=CRASHED, channel=channels[0].key),), 0
    while outbox:
        outbox, _ = deliver(outbox, channels, place, now)
        now += max(RETRY_S)
        tried += 1
    assert tried == len(RETRY_S) + 1
    assert "gave up sending" in caplog.text
    assert SECRET not in caplog.text


def test_an_address_that_is_not_there_any_more_is_dropped(target: Target, tmp_path: Path) -> None:
    channels = read_channels(settings(target, tmp_path))
    assert deliver([Pending(alert=CRASHED, channel="of old")], channels, Origin("n", tmp_path), 1.0) == ((), True)
    assert target.alerts == []


def test_one_address_that_fails_does_not_keep_the_others(target: Target, tmp_path: Path) -> None:
    chosen = settings(target, tmp_path, command=[sys.executable, "-c", "raise SystemExit(4)"])
    channels = read_channels(chosen)
    outbox = [Pending(alert=CRASHED, channel=channel.key) for channel in channels]
    waiting, _ = deliver(outbox, channels, Origin("n", tmp_path), 1.0)
    assert target.kinds == ["crashed"]
    assert [one.channel for one in waiting] == ["command"]


def test_a_command_is_given_the_message_and_no_shell_reads_it(tmp_path: Path) -> None:
    program = "import json, os, sys; json.dump([sys.argv, dict(os.environ)], open('said.json', 'w'))"
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        (channel,) = read_channels(Alerts(command=(sys.executable, "-c", program, "to me")))
        assert channel.send(Alert(kind="fault", text=HOSTILE, utc=1.0), Origin("a & b", tmp_path)) is None
    finally:
        os.chdir(before)
    (_, first, message), environment = json.loads((tmp_path / "said.json").read_text())
    assert first == "to me"
    assert message.startswith('core "7"; $(touch x) & %PATH% `id` <b> Subject: other   ünïcödé\n\nNight a & b')
    assert environment["LAMELLE_EVENT"] == "fault"
    assert environment["LAMELLE_NIGHT"] == "a & b"
    assert environment["LAMELLE_RUN"] == str(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["said.json"]


def test_a_command_that_does_not_start_or_succeed_is_told(tmp_path: Path) -> None:
    place = Origin("n", tmp_path)
    (absent,) = read_channels(Alerts(command=(str(tmp_path / "absent"),)))
    (failing,) = read_channels(Alerts(command=(sys.executable, "-c", "raise SystemExit(3)")))
    assert "does not start" in str(absent.send(CRASHED, place))
    assert failing.send(CRASHED, place) == "it ended with status 3"


def test_a_sign_of_life_asks_for_the_url(target: Target, tmp_path: Path) -> None:
    dead_man = read_dead_man(settings(target, tmp_path))
    assert dead_man is not None
    assert dead_man.ping() is None
    assert target.pings == [f"/ping/{SECRET}"]


def test_a_dead_man_url_that_does_not_answer_is_told_without_it(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"http://127.0.0.1:9/{SECRET}")
    dead_man = read_dead_man(Alerts(dead_man=tmp_path / "url"))
    assert dead_man is not None
    why = dead_man.ping()
    assert why
    assert SECRET not in why


@pytest.mark.parametrize(
    ("alerts", "content", "told"),
    [
        ({"urls": "urls.txt"}, None, ("alerts.urls", "cannot be read")),
        ({"urls": "urls.txt"}, b"# nobody\n\n", ("alerts.urls", "holds no address")),
        ({"urls": "urls.txt"}, f"\nmailto://{SECRET}".encode(), ("alerts.urls line 2", "mailto://...")),
        ({"urls": "urls.txt"}, f"carrier-pigeon://{SECRET}".encode(), ("alerts.urls line 1", "carrier-pigeon://")),
        ({"urls": "urls.txt"}, SECRET.encode(), ("alerts.urls line 1", "not an address")),
        ({"urls": "urls.txt"}, b"\xff\xfe\xff", ("alerts.urls", "not UTF-8")),
        ({"dead_man": "urls.txt"}, b"file:///etc/passwd", ("alerts.dead_man", "one http or https URL")),
        ({"dead_man": "urls.txt"}, b"http://a\nhttp://b\n", ("alerts.dead_man", "one http or https URL")),
        ({"command": ["tell.BAT"]}, None, ("alerts.command", "'tell.BAT'", "batch file")),
    ],
    ids=["missing", "empty", "bad mail", "unknown", "no URL", "not UTF-8", "file", "two", "batch"],
)
def test_addresses_that_cannot_be_are_refused_before_the_night_and_not_repeated(
    alerts: dict[str, object], content: bytes | None, told: tuple[str, ...], tmp_path: Path
) -> None:
    config = write(tmp_path, {"alerts": alerts})
    if content is not None:
        (tmp_path / "urls.txt").write_bytes(content)
    with pytest.raises(Refused) as refused:
        check(load(config), None)
    for part in told:
        assert part in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_trial_tells_of_each_address_whether_it_took_it(target: Target, tmp_path: Path) -> None:
    said = io.StringIO()
    chosen = settings(target, tmp_path, command=[sys.executable, "-c", "raise SystemExit(1)"])
    assert not try_alerts(chosen, Console(file=said, width=200).print)
    assert target.kinds == ["goes on"]
    assert len(target.pings) == 1
    assert [line.rpartition(": ")[2] for line in said.getvalue().splitlines()] == [
        "sent",
        "it ended with status 1",
        "sent",
    ]
    assert SECRET not in said.getvalue()
    with pytest.raises(Refused, match=r"alerts\.urls"):
        try_alerts(Alerts(), print)
