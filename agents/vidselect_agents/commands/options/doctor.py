"""See what this machine has for the package: versions, devices, codecs, cache, and what is missing for which extra.

vidselect doctor
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vidselect_agents.commands.options import read


@dataclass(frozen=True)
class DoctorConfig:
    """How it is told.

    Args:
        json: as JSON, for programs.
    """

    json: bool = False


def parse(arguments: Sequence[str]) -> DoctorConfig:
    return read(DoctorConfig, arguments, prog="vidselect doctor", description=__doc__)
