"""Compare agents over seeds: `vidselect benchmark`."""

from vidselect_agents.commands.benchmark import main

if __name__ == "__main__":
    main()
