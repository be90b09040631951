"""Train an agent: `vidselect train`."""

import sys

from vidselect_agents.commands import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
