"""Peak memory, of processes that do nothing else."""

import ctypes
import re
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

_M_MMAP_THRESHOLD = -3  # of malloc.h


def call_alone(function: Callable[..., Any], *args: Any) -> Any:
    """Calls a function in a new process, and gives what it returns.

    Args:
        function (Callable): Of a module.
        *args (Any): Its arguments.

    Raises:
        ChildProcessError: The process ended without an answer. Its argument is
            the exit code, negative for the signal that ended it.
    """
    context = get_context('forkserver')
    # Its import is most of what a process costs.
    context.set_forkserver_preload(['skd_mmrazor'])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, args))
    process.start()
    sender.close()
    try:
        answer = receiver.recv()
    except EOFError:
        process.join()
        raise ChildProcessError(process.exitcode) from None
    process.join()
    return answer


def _answer(sender: Connection, function: Callable[..., Any], args: tuple) -> None:
    sender.send(function(*args))


def give_back_freed() -> None:
    """Lets this process give back memory at once, as its allocator (glibc's) may not.

    Otherwise a peak differs by a fifth from one process to another. It takes time.
    """
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 16)


def forget_peak(device: torch.device) -> None:
    """Lets the peak start again from what is held now.

    Args:
        device (torch.device): Where it runs.
    """
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path('/proc/self/clear_refs').write_text('5')


def get_peak(device: torch.device) -> float:
    """Peak of the GPU's memory, or of the process's, in MiB.

    Args:
        device (torch.device): Where it runs.
    """
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 2**20
    # Not getrusage: it begins with the peak of the parent.
    (peak,) = re.findall(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())
    return int(peak) / 1024
