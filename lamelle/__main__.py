"""`python -m lamelle` is `lamelle`."""

from daemon.cli.app import main

if __name__ == "__main__":
    main()
