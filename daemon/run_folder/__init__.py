"""The folder of a night: journal, spool, heartbeat, and where the night can be reached.

Face: `endpoints`, `folder`, `heartbeat`, `journal`, `spool`, `unattended`.
"""
