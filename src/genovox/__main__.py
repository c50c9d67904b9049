"""``python -m genovox``: the command, where torchrun asks for a module."""

from genovox.cli.main import main

if __name__ == "__main__":
    main()
