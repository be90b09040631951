"""Compare agents over seeds: `vidselect benchmark`."""

import sys

from vidselect_agents.commands import main

if __name__ == "__main__":
    main(["benchmark", *sys.argv[1:]])
