"""Build a bank: `vidselect bank build`."""

from vidselect_agents.commands.bank import build_main

if __name__ == "__main__":
    build_main()
