"""Where a problem gets contexts and classifier outputs from: a bank, the videos themselves, or one new file."""

from vidselect_env.envs.sources.bank import BankSource
from vidselect_env.envs.sources.base import Source
from vidselect_env.envs.sources.live import LiveSource
from vidselect_env.envs.sources.look import LookSource

__all__ = ["BankSource", "LiveSource", "LookSource", "Source"]
