"""Report a saved run: `vidselect evaluate`."""

import sys

from vidselect_agents.commands import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
