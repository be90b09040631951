"""Build a bank: `vidselect bank build`."""

import sys

from vidselect_agents.commands import main

if __name__ == "__main__":
    main(["bank", "build", *sys.argv[1:]])
