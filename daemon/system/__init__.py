"""What lamelle asks of the computer: durable files, locks, logs, processes, shared memory, progress, errors.

Face: `awake`, `crash_points`, `durable_files`, `durable_sqlite`, `errors`, `extras`, `locks`, `logbook`,
`process_table`, `progress`, `retry`, `ring`, `service_files`, `signals`, `throttle`.
"""
