"""A teacher whose weights are on the disk while no image needs them."""

import mmap
import tempfile

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..utils.descriptions import to_bytes
from .utils import get_model

_ALIGNMENT = 64


class OffloadedTeacher(Hook):
    """Keeps a teacher's parameters in a file that is mapped to memory.

    Whatever uses them, such as a checkpoint, reads them from there. What was read
    leaves the memory at the start of the next epoch, or earlier if the system needs it.
    On a GPU the teacher has to be brought back by :meth:`load` before it is run.

    It registers itself with the runner, for a ``StoredTeacherHook``.

    Args:
        runner (Runner): The runner of the training process.
    """

    def __init__(self, runner: Runner) -> None:
        self._parameters = dict(get_model(runner).teacher.named_parameters())
        self._devices = {name: p.device for name, p in self._parameters.items()}
        places = {}
        # Not in a folder for temporary files, which may be in memory. It has no name, and
        # ends with the process.
        with tempfile.TemporaryFile(dir=runner.work_dir) as file:
            for name, parameter in self._parameters.items():
                places[name] = file.tell()
                file.write(to_bytes(parameter))
                file.write(bytes(-file.tell() % _ALIGNMENT))
            file.flush()
            self._memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._mapped = {
            name: torch.frombuffer(
                self._memory, dtype=p.dtype, count=p.numel(), offset=places[name]
            ).view(p.shape)
            for name, p in self._parameters.items()
        }
        # Last, since hooks are being called.
        runner.register_hook(self, 'LOWEST')

    def offload(self) -> None:
        """Frees the memory of the parameters."""
        for name, parameter in self._parameters.items():
            parameter.data = self._mapped[name]
        if hasattr(mmap, 'MADV_DONTNEED'):
            self._memory.madvise(mmap.MADV_DONTNEED)

    def load(self) -> None:
        """Brings the parameters back to their devices; does nothing on a CPU."""
        for name, parameter in self._parameters.items():
            if parameter.device != self._devices[name]:
                parameter.data = self._mapped[name].to(self._devices[name])

    def before_train_epoch(self, runner: Runner) -> None:
        """Frees the memory of a teacher that the last epoch needed."""
        self.offload()

    def before_val(self, runner: Runner) -> None:
        """Brings back a teacher that may be validated."""
        self.load()

    def after_train(self, runner: Runner) -> None:
        """Brings back the teacher."""
        self.load()
