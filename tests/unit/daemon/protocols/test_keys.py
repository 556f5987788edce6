"""Keys of a computer: made, kept, and named for a recorder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from daemon.config.loading import load_keys
from daemon.config.model import CurveKeys
from daemon.protocols.keys import make_keys
from daemon.protocols.sockets import check_endpoint
from daemon.system.errors import Refused

BEYOND = "tcp://192.0.2.9:5990"


def test_a_secret_key_is_for_its_owner_alone_and_is_never_overwritten(tmp_path: Path) -> None:
    public, secret = make_keys(tmp_path / "new" / "keys")
    held = public.read_bytes(), secret.read_bytes()
    assert held[0] != held[1]
    if os.name != "nt":
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    with pytest.raises(Refused, match=r"public\.key is there already .* another folder"):
        make_keys(tmp_path / "new" / "keys")
    public.unlink()
    with pytest.raises(Refused, match=r"secret\.key is there already"):
        make_keys(tmp_path / "new" / "keys")
    assert secret.read_bytes() == held[1]
    assert make_keys(tmp_path / "other")[1].read_bytes() != held[1]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(Refused, match="cannot be written"):
        make_keys(tmp_path / "file" / "keys")


def test_keys_are_named_in_a_file_with_paths_relative_to_it(tmp_path: Path) -> None:
    make_keys(tmp_path / "keys")
    (tmp_path / "named.yaml").write_text("public: keys/public.key\nsecret: keys/secret.key\n", encoding="utf-8")
    assert load_keys(tmp_path / "named.yaml").secret == tmp_path / "keys" / "secret.key"
    (tmp_path / "named.yaml").write_text("public: keys/public.key\nsecrt: keys/secret.key\n", encoding="utf-8")
    with pytest.raises(Refused, match="did you mean secret"):
        load_keys(tmp_path / "named.yaml")
    with pytest.raises(Refused, match="cannot be read"):
        load_keys(tmp_path / "none.yaml")


def test_beyond_this_computer_a_server_knows_its_clients_and_a_client_its_server(tmp_path: Path) -> None:
    public, secret = make_keys(tmp_path)
    own = CurveKeys(public=public, secret=secret)
    with pytest.raises(Refused, match=r"keys\.clients is missing .* those who may"):
        check_endpoint(BEYOND, own, "server")
    check_endpoint(BEYOND, own.model_copy(update={"clients": public}), "server")
    check_endpoint("tcp://127.0.0.1:5990", own, "server")
    with pytest.raises(Refused, match=r"keys\.server is missing .* connect to"):
        check_endpoint(BEYOND, own, "client")
    check_endpoint(BEYOND, own.model_copy(update={"server": public}), "client")
