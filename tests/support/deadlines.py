"""How long the tests wait for what has to come: guards against hanging, none of them a statement about speed.

A guard costs nothing while all is well, so each is several times what a computer needs that has five times as much to
do as it has cores. pytest's own deadline of a test (pyproject.toml) lies above them all.
"""

from __future__ import annotations

DEADLINE_S = 120.0
"""For one thing that a thread, a process or the other end of a socket has to do, its start included."""
DEADLINE_MS = int(1000 * DEADLINE_S)
NIGHT_S = 400.0
"""For a small night in processes of its own, or for a state that it has to come to."""
END_S = 60.0
"""For what was ended to be gone: threads, processes, sockets."""
LONG_S = 4 * 3600.0
"""For what is too long for the suite."""
