"""Writes results together with the machine that they were measured on."""

import json
from pathlib import Path
from typing import Any

import torch

from ..accuracy.summary import get_machine


def get_conditions() -> str:
    """The machine, and the threads of torch."""
    return f'{get_machine()}, {torch.get_num_threads()} threads'


def write_json(folder: Path, stem: str, **content: Any) -> None:
    """Writes results, with the machine that they came from.

    Args:
        folder (Path): The folder, created if it does not exist.
        stem (str): The name of the file, without ``.json``.
        **content: The results.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dict(machine=get_conditions(), **content), indent=1)
    (folder / f'{stem}.json').write_text(text + '\n')
