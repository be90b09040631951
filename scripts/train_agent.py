"""Train an agent: `vidselect train`."""

from vidselect_agents.commands.train import main

if __name__ == "__main__":
    main()
