"""Print what makes a shell complete `vidselect`: its commands, their options, and names of agents and classifiers.

vidselect completion bash > ~/.local/share/bash-completion/completions/vidselect

echo 'eval "$(vidselect completion zsh)"' >> ~/.zshrc

vidselect completion fish > ~/.config/fish/completions/vidselect.fish

Files are completed wherever nothing else is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tyro

from vidselect_agents.commands.options import read


@dataclass(frozen=True)
class CompletionConfig:
    """Of which shell.

    Args:
        shell: that is to complete.
    """

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]


def parse(arguments: Sequence[str]) -> CompletionConfig:
    return read(CompletionConfig, arguments, prog="vidselect completion", description=__doc__)
