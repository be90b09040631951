"""Recognise videos with a run: `vidselect recognise`."""

import sys

from vidselect_agents.commands import main

if __name__ == "__main__":
    main(["recognise", *sys.argv[1:]])
