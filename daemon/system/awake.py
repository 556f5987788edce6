"""Keeps the computer from going to sleep, and as far as that can be had from restarting by itself, while a night runs.

On Linux `systemd-inhibit` holds the lock around a `cat` that reads from a pipe of ours: whatever ends this process
closes the pipe, and with it the lock. On Windows a power request belongs to the process and ends with it.
"""

from __future__ import annotations

import selectors
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

HOLD_S = 5.0
"""How long the system may take to grant it."""
END_S = 5.0
ALONE = "the computer may go to sleep or restart while the night runs; switch that off in its settings"
_SIGN = b"held\n"


class KeptAwake:
    """Holds the computer awake from `hold` to `release`, or to the end of this process, however it ends.

    Parameters
    ----------
    run
        the run folder, which the system names to whoever asks what keeps it awake.
    """

    def __init__(self, run: Path) -> None:
        self._why = f"the night in {run} runs"
        self._inhibitor: subprocess.Popen[bytes] | None = None
        self._request: int | None = None

    def hold(self) -> str | None:
        """Ask the system; returns what a person should know where it does not, or not wholly, do so."""
        if sys.platform == "win32":
            from daemon.system.awake_windows import request_power

            self._request, complaint = request_power(self._why)
            return complaint
        try:
            return self._inhibit()
        except FileNotFoundError:
            return f"there is no systemd-inhibit here, so {ALONE}"
        except OSError as error:
            self.release()
            return f"systemd-inhibit does not start ({error.strerror}), so {ALONE}"

    def release(self) -> None:
        """Let the computer sleep again; may be called again."""
        if sys.platform == "win32" and self._request is not None:
            from daemon.system.awake_windows import release_power

            release_power(self._request)
            self._request = None
        if self._inhibitor is None:
            return
        process, self._inhibitor = self._inhibitor, None
        try:
            process.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def _inhibit(self) -> str | None:
        words = ["--what=sleep:idle:shutdown", "--mode=block", "--who=lamelle", f"--why={self._why}"]
        self._inhibitor = process = subprocess.Popen(  # noqa: S603
            ["systemd-inhibit", *words, "cat"],  # noqa: S607 - found where the system keeps it
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # a Ctrl-C is the night's to judge
        )
        assert process.stdin is not None
        assert process.stdout is not None
        # What `cat` is given comes back once it runs, and it runs once the lock is held.
        with suppress(BrokenPipeError):
            process.stdin.write(_SIGN)
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if selector.select(HOLD_S) and process.stdout.read(len(_SIGN)) == _SIGN:
                return None
        self._inhibitor = None
        process.kill()
        said = process.communicate()[1].decode(errors="replace").strip().splitlines()
        return f"systemd-inhibit does not hold it ({said[-1] if said else 'it does not answer'}), so {ALONE}"
