"""Banks: what a classifier said about every candidate clip of every video of a split."""

from vidselect_env.bank.bank import ClipBank, open_bank
from vidselect_env.bank.build import bank_spec, build_bank
from vidselect_env.bank.rows import Rows
from vidselect_env.bank.spec import BankError, BankSpec, SignalSpec, SkimSpec

__all__ = [
    "BankError",
    "BankSpec",
    "ClipBank",
    "Rows",
    "SignalSpec",
    "SkimSpec",
    "bank_spec",
    "build_bank",
    "open_bank",
]
