"""Train a clip classifier: `vidselect classifier`."""

from vidselect_agents.commands.classifier import main

if __name__ == "__main__":
    main()
