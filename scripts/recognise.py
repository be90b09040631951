"""Recognise videos with a run: `vidselect recognise`."""

from vidselect_agents.commands.recognise import main

if __name__ == "__main__":
    main()
