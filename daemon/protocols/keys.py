"""CURVE keys of a computer: made as two files, and named for the recorder in a small YAML file."""

from __future__ import annotations

from pathlib import Path

import zmq

from daemon.system.durable_files import make_folder
from daemon.system.errors import Refused

PUBLIC, SECRET = "public.key", "secret.key"


def make_keys(folder: Path) -> tuple[Path, Path]:
    """Write a new pair of keys, one Z85 line each; the secret one is for its owner's eyes alone.

    Windows knows no such modes: there the folder's permissions decide.

    Returns
    -------
    tuple of Path
        Files of the public and of the secret key.

    Raises
    ------
    Refused
        A key is there already, or the folder cannot be written.
    """
    public, secret = folder / PUBLIC, folder / SECRET
    for path in (public, secret):
        if path.exists():
            raise Refused(f"{path} is there already and is not overwritten; name another folder, or move it away")
    try:
        make_folder(folder)
        for path, key, mode in zip((public, secret), zmq.curve_keypair(), (0o644, 0o600), strict=True):
            path.touch(mode, exist_ok=False)
            with path.open("wb") as stream:
                stream.write(key + b"\n")
    except OSError as error:
        raise Refused(f"keys cannot be written into {folder} ({error}); name another folder") from error
    return public, secret
