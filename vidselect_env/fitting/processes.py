"""The processes that train one network together, as `torchrun` starts them; one alone is the simplest case.

Every process draws the same random numbers, takes its own part of every batch, and adds its gradients to the others':
W processes with b clips each take the steps of one process with W * b clips.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from vidselect_classifiers.ragged import RaggedMaps

_Value = TypeVar("_Value")
TIMEOUT = timedelta(minutes=30)  # the first process may make a data set while the others wait


@dataclass(frozen=True)
class Processes:
    """How many processes there are, and which of them this one is.

    rank: 0 to count - 1; the first writes files. local_rank: the same on this machine, the number of its GPU.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def device(self, wanted: str) -> str:
        """This process's own device of the kind that is wanted.

        Raises:
            ValueError: there are fewer GPUs than processes.
        """
        if self.count == 1 or wanted != "cuda":
            return wanted
        if self.local_rank >= torch.cuda.device_count():
            raise ValueError(
                f"process {self.local_rank} of this machine has no GPU: there are {torch.cuda.device_count()}; "
                "give --nproc-per-node at most so many"
            )
        return f"cuda:{self.local_rank}"

    def part(self, size: int) -> slice:
        """This process's part of `size` things: they are divided in order, as evenly as they can be.

        Example: 5 things in 2 processes -> the first three, the last two.
        """
        return slice(self._start(self.rank, size), self._start(self.rank + 1, size))

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes; the value itself where there is one."""
        if self.count > 1:
            distributed.all_reduce(value)
        return value

    def gathered(self, value: _Value) -> list[_Value]:
        """What every process gives, in their order."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, value)
        return values

    def told(self, value: _Value) -> _Value:
        """What the first process has."""
        if self.count == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    def mean(self, value: Tensor) -> Tensor:
        """The mean of what the processes have; the value itself where there is one."""
        return value if self.count == 1 else self.sum(value / self.count)

    def joined(self, value: Tensor) -> Tensor:
        """What all processes have, (B, ...) of each, one after another: (W * B, ...)."""
        whole = value.new_zeros(self.count, *value.shape)
        whole[self.rank] = value
        return self.sum(whole).flatten(0, 1)

    def in_turn(self, make: Callable[[], _Value]) -> _Value:
        """What `make` gives here; the first process calls it while the others wait, who then find what it wrote."""
        made = [make()] if self.is_first else []
        self.told(None)
        return made[0] if made else make()

    def same(self, module: nn.Module) -> None:
        """Give a network the first process's parameters and buffers."""
        if self.count > 1:
            for value in module.state_dict().values():
                distributed.broadcast(value, src=0)

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the gradients over all processes; a process without one adds nothing."""
        if self.count == 1:
            return
        every = [each for each in parameters if each.requires_grad]
        there = torch.tensor([float(each.grad is not None) for each in every], device=every[0].device)
        used = [each for each, number in zip(every, self.sum(there).tolist(), strict=True) if number]
        flat = torch.cat([(torch.zeros_like(each) if each.grad is None else each.grad).flatten() for each in used])
        for each, gradient in zip(used, self.sum(flat).split([each.numel() for each in used]), strict=True):
            each.grad = gradient.view_as(each)

    def _start(self, rank: int, size: int) -> int:
        most, left = divmod(size, self.count)
        return rank * most + min(rank, left)


ALONE = Processes()


@contextmanager
def torchrun_processes(device: str) -> Iterator[Processes]:
    """The processes that `torchrun` started this one with, connected (NCCL between GPUs, gloo else); or it alone."""
    if not distributed.is_torchelastic_launched() or int(os.environ["WORLD_SIZE"]) == 1:
        yield ALONE
        return
    on_gpu = device == "cuda"
    processes = Processes(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    if on_gpu:
        torch.cuda.set_device(processes.device(device))
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=TIMEOUT)
    try:
        yield processes
    finally:
        distributed.destroy_process_group()


def share_norms(module: nn.Module, *, on_gpu: bool) -> nn.Module:
    """The network with batch norms whose statistics, in training, are of the clips of all processes.

    Names and values of parameters stay as they are. Without it each process would normalise by its own clips.
    """
    if on_gpu:
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return SharedBatchNorm(module)
    for name, child in list(module.named_children()):
        setattr(module, name, share_norms(child, on_gpu=False))
    return module


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """A batch norm with the statistics of all processes' clips: `nn.SyncBatchNorm` for processes without a GPU.

    Args:
        like: the batch norm whose parameters and buffers it takes.
    """

    def __init__(self, like: nn.modules.batchnorm._BatchNorm) -> None:
        options = {"affine": like.affine, "track_running_stats": like.track_running_stats}
        super().__init__(like.num_features, like.eps, like.momentum, **options)
        self.weight, self.bias = like.weight, like.bias
        self.running_mean, self.running_var = like.running_mean, like.running_var
        self.num_batches_tracked = like.num_batches_tracked
        self.training = like.training

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"the input has {input.dim()} dimensions: a batch norm takes at least 2")

    def forward(self, input: Any) -> Any:
        """Of (B, C, ...), the same shape; of maps of different lengths, whose statistics are of all maps, the same."""
        if not self.training:
            return super().forward(input)
        if isinstance(input, RaggedMaps):
            return input.with_packed(self(input.packed()))
        from torch.distributed.nn.functional import all_reduce  # the sum through which gradients go back

        self._check_input_dim(input)
        dims = [dim for dim in range(input.ndim) if dim != 1]
        shape = [1, -1, *[1] * (input.ndim - 2)]
        own = input.new_tensor([input.numel() / self.num_features])
        total = all_reduce(torch.cat([input.sum(dims), own]))
        count, mean = total[-1].detach(), total[:-1] / total[-1].detach()
        centred = input - mean.view(shape)
        variance = all_reduce(centred.square().sum(dims)) / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        out = centred * torch.rsqrt(variance + self.eps).view(shape)
        return out if self.weight is None else out * self.weight.view(shape) + self.bias.view(shape)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards these."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)
