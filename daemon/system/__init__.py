"""What lamelle asks of the computer: durable files, locks, logs, processes, shared memory, progress, errors."""
