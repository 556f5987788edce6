"""Who may see a page: this computer alone, or whoever knows the token."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.system.errors import Refused
from daemon.web.access import LEAST_TOKEN, Door, check_reach, read_token, split_address
from tests.support.a_monitor import TOKEN


def test_a_page_that_others_can_reach_needs_a_token(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        check_reach(host, None)
    for host in ("0.0.0.0", "192.168.1.7", "::", "microscope"):
        with pytest.raises(Refused, match="--token-file"):
            check_reach(host, None)
        check_reach(host, TOKEN)
    short = tmp_path / "short"
    short.write_text("x" * (LEAST_TOKEN - 1) + "\n", "utf-8")
    with pytest.raises(Refused, match=f"{LEAST_TOKEN - 1} characters"):
        read_token(short)
    with pytest.raises(Refused, match="cannot be read"):
        read_token(tmp_path / "none")


@pytest.mark.parametrize("http", ["", "8642", "localhost", ":8642", "::1:8642", "127.0.0.1:x", "127.0.0.1:99999"])
def test_an_address_that_is_none_is_refused(http: str) -> None:
    with pytest.raises(Refused, match="not an address"):
        split_address(http)
    assert split_address("[::1]:8642") == ("::1", 8642)


def test_wrong_tokens_are_counted_and_made_slow() -> None:
    now = [1000.0]
    door = Door(TOKEN, lambda: now[0])
    assert door.knows(TOKEN, "a")
    assert not door.knows("wrong", "a")
    assert (door.wrong, door.wait_s("a")) == (1, 1.0)
    assert not door.knows(TOKEN, "a"), "while an address waits nothing is compared"
    assert door.wrong == 1
    assert door.knows(TOKEN, "b"), "others do not wait"
    waits = []
    for _ in range(8):
        now[0] += door.wait_s("a") + 0.001
        assert not door.knows("wrong", "a")
        waits.append(door.wait_s("a"))
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]
    now[0] += 60.001
    assert door.knows(TOKEN, "a")
    assert door.wait_s("a") == 0


def test_sessions_end() -> None:
    now = [0.0]
    door = Door(TOKEN, lambda: now[0])
    names = [door.open_session("Ada") for _ in range(3)]
    assert len(set(names)) == 3
    assert TOKEN not in "".join(names)
    first = door.session(names[0])
    assert first is not None
    assert first.who == "Ada"
    door.close_session(names[0])
    assert door.session(names[0]) is None
    now[0] += 15 * 86_400
    assert door.session(names[1]) is None
    assert door.session("") is None
