"""Report a saved run: `vidselect evaluate`."""

from vidselect_agents.commands.evaluate import main

if __name__ == "__main__":
    main()
