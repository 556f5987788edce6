"""`python -m daemon` is `lamelle`."""

from daemon.cli import main

if __name__ == "__main__":
    main()
