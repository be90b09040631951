"""Train a clip classifier: `vidselect classifier`."""

import sys

from vidselect_agents.commands import main

if __name__ == "__main__":
    main(["classifier", *sys.argv[1:]])
