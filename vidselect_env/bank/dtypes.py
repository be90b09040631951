"""Of which type the numbers of a bank's fields are."""

from __future__ import annotations

import torch

from vidselect_env.bank.spec import BankSpec

DTYPES = {
    "logits": torch.float32,
    "features": torch.float32,
    "num_bins": torch.int64,
    "skim": torch.uint8,
    "vectors": torch.float16,
    "residual": torch.int8,
    "intra": torch.uint8,
    "mel": torch.float16,
}


def dtype_of(field: str, spec: BankSpec) -> torch.dtype:
    """Of a field's numbers in a bank."""
    is_wide = field == "residual" and spec.signals is not None and spec.signals.residual_bits == 16
    return torch.int16 if is_wide else DTYPES[field]
