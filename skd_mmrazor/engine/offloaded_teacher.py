"""A teacher whose weights are on the disk while no image needs them."""

import tempfile

import numpy as np
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
        teacher = get_model(runner).teacher
        self._devices = {parameter: parameter.device for parameter in teacher.parameters()}
        # Not in a folder for temporary files, which may be in memory. It has no name, and
        # ends with the process.
        self._file = tempfile.TemporaryFile(dir=runner.work_dir)  # noqa: SIM115
        self._places = {}
        for parameter in self._devices:
            self._places[parameter] = self._file.tell()
            self._file.write(to_bytes(parameter))
            self._file.write(bytes(-self._file.tell() % _ALIGNMENT))
        # Last, since hooks are being called.
        runner.register_hook(self, 'LOWEST')

    def offload(self) -> None:
        """Frees the memory of the parameters, also that of pages which were read."""
        for parameter, place in self._places.items():
            size = parameter.numel() * parameter.element_size()
            mapped = torch.from_numpy(np.memmap(self._file, np.uint8, 'c', place, (size,)))
            parameter.data = mapped.view(parameter.dtype).view(parameter.shape)

    def load(self) -> None:
        """Brings the parameters back to their devices; does nothing on a CPU."""
        for parameter, device in self._devices.items():
            parameter.data = parameter.data.to(device)

    def before_train_epoch(self, runner: Runner) -> None:
        """Frees the memory of a teacher that the last epoch needed."""
        self.offload()

    def before_val(self, runner: Runner) -> None:
        """Brings back a teacher that may be validated."""
        self.load()

    def after_train(self, runner: Runner) -> None:
        """Brings back the teacher."""
        self.load()
