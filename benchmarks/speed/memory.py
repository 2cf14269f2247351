"""Peak memory, measured in separate processes."""

import ctypes
import gc
import re
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

_M_MMAP_THRESHOLD = -3  # of malloc.h


def call_alone(function: Callable[..., Any], *args: Any) -> Any:
    """Calls a function in a new process, and returns its result.

    Args:
        function (Callable): A function at the top level of a module.
        *args (Any): Its arguments.

    Raises:
        ChildProcessError: The process ended without a result. The argument of the error
            is the exit code, or the negative number of the signal that ended it.
    """
    context = get_context('forkserver')
    # Most of the start of a process is this import.
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
    """Makes glibc's allocator return freed memory to the system at once, which is slower.

    Otherwise peaks differ by a fifth from one process to another.
    """
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 16)


def forget_peak(device: torch.device) -> None:
    """Resets the peak to the memory that is in use now.

    Args:
        device (torch.device): The device that is measured.
    """
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
    else:
        gc.collect()
        # Else what the allocator holds of the past would count.
        ctypes.CDLL(None).malloc_trim(0)
        Path('/proc/self/clear_refs').write_text('5')


def get_peak(device: torch.device) -> float:
    """Peak memory of the GPU, or of the process on a CPU, in MiB.

    Args:
        device (torch.device): The device that is measured.
    """
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 2**20
    # Not getrusage, whose peak starts at that of the parent process.
    (peak,) = re.findall(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())
    return int(peak) / 1024
