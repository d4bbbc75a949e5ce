"""Training in several processes: what torchrun says in the environment, read in this one place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import distributed, nn


@dataclass(frozen=True)
class Processes:
    """This process is number `rank` of `world`; `device` is its own. Rank 0 alone writes files."""

    rank: int
    world: int
    device: str

    @property
    def is_first(self) -> bool:
        return self.rank == 0


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """Join torchrun's processes (nccl on cuda, gloo on the CPU); alone when torchrun did not start this one.

    Inside another such block, the same processes.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Processes(0, 1, device)
        return
    on_cuda = device == "cuda"
    local = f"cuda:{os.environ['LOCAL_RANK']}" if on_cuda else device
    if distributed.is_initialized():
        yield Processes(distributed.get_rank(), world, local)
        return
    if on_cuda:
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if on_cuda else "gloo")
    try:
        yield Processes(distributed.get_rank(), world, local)
    finally:
        distributed.destroy_process_group()


@contextmanager
def first_before_others(own: Processes) -> Iterator[None]:
    """The first process runs the block, the others after it: what it writes, they find."""
    if own.world > 1 and not own.is_first:
        distributed.barrier()
    yield
    if own.world > 1 and own.is_first:
        distributed.barrier()


def shared(network: nn.Module, own: Processes) -> nn.Module:
    """The network with its gradients averaged over the processes; itself when there is one."""
    if own.world == 1:
        return network
    return nn.parallel.DistributedDataParallel(network)


def unsynchronised(network: nn.Module) -> AbstractContextManager:
    """Inside, a backward pass keeps its gradients to this process: the last chunk of a batch averages them all."""
    return network.no_sync() if isinstance(network, nn.parallel.DistributedDataParallel) else nullcontext()


def mean_over(own: Processes, values: torch.Tensor) -> torch.Tensor:
    """The mean over all processes of a tensor of numbers."""
    if own.world > 1:
        distributed.all_reduce(values)
        values /= own.world
    return values


def agree(own: Processes, value: float) -> float:
    """The first process's value, in all of them."""
    if own.world == 1:
        return value
    told = torch.tensor([value], dtype=torch.float64, device=own.device)
    distributed.broadcast(told, 0)
    return float(told[0])
