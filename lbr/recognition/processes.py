"""Training in several processes: torchrun's, or those that are started here, which are told the same way: what the
environment says is read in this one place."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from typing import TypeVar

import torch
from torch import distributed, nn

from lbr.errors import DataError, LbrError
from lbr.parallel import limit_threads, num_cores

Result = TypeVar("Result")
ENDING_S = 30  # for the others to end by themselves, once the first has
# For a process whose connection is closed to end: under load it takes a second or two. Another waits for the first to
# end before it says that something is wrong, so the first waits longer for what another says.
FIRST_ENDS_S, OTHER_ENDS_S = 2, 10


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


def sharing(chunks: int, device: str) -> int:
    """Processes that share the chunks of a batch evenly: on a CPU at most one for each core, as two of one thread each
    learn nearly twice as fast as one of two threads; else this one."""
    if device != "cpu":
        return 1
    return max(n for n in range(1, min(chunks, num_cores()) + 1) if chunks % n == 0)


def together(count: int, work: Callable[[], Result]) -> Result:
    """The result of `work`, which must pickle: done here, as the first of `count` processes, and in the others at once.

    Raises DataError when another ends before this one does, with what it says of its data.
    """
    if count == 1:
        return work()
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(count)}
    others = [_Other(work, told, rank) for rank in range(1, count)]
    try:
        for other in others:
            other.says.recv()  # that it has begun: before, it may end without closing a connection
        with _told(told, 0):
            result = work()
        for other in others:
            other.process.join(ENDING_S)
        return result
    except (RuntimeError, EOFError) as error:  # of a connection that another closed
        reasons = [reason for other in others if (reason := other.fault())]
        if reasons:
            raise DataError(reasons[0]) from error
        raise
    finally:
        for other in others:
            other.process.terminate()
        limit_threads(num_cores())  # as training in one process leaves it


class _Other:
    """A process beside the first, and the end of a pipe on which it says that it has begun, and what ended it."""

    def __init__(self, work: Callable[[], object], told: dict[str, str], rank: int) -> None:
        context = get_context("spawn")
        self.says, says = context.Pipe(duplex=False)
        self.process = context.Process(target=_beside, args=(work, told, rank, says))
        self.process.start()
        says.close()

    def fault(self) -> str | None:
        """Why it ended before its time; None where it did not."""
        if not self.says.poll(OTHER_ENDS_S):
            return None
        try:
            return self.says.recv()
        except EOFError:
            self.process.join(OTHER_ENDS_S)
        code = self.process.exitcode
        if not code:
            return None
        return (
            f"a process that trained beside this one ended (exit code {code}; killed for memory?): "
            "set recognition.training.chunks to 1 to train in one"
        )


def _beside(work: Callable[[], object], told: dict[str, str], rank: int, says: Connection) -> None:
    """What each of the others does. It alone may meet what is wrong in its share of the data, and the first says it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first is interrupted, and ends the others
    says.send("begun")
    try:
        with _told(told, rank):
            work()
    except LbrError as error:
        says.send(str(error))
        sys.exit(1)
    except RuntimeError:  # of a connection that was closed
        first = parent_process()
        if first is not None:
            first.join(FIRST_ENDS_S)  # its connection closes before it has ended
            if not first.is_alive():
                sys.exit(1)
        raise


@contextmanager
def _told(told: dict[str, str], rank: int) -> Iterator[None]:
    """The environment, inside, as torchrun would make it."""
    told = {**told, "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ.update(told)
    try:
        yield
    finally:
        for key in told:
            del os.environ[key]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
