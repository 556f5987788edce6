"""The night: plan, supervise, acquire, analyse, deliver, record, monitor; the command line."""
