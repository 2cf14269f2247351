"""Logits of a teacher, stored on disk."""

import contextlib
import json
import os
import re
import textwrap
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..utils import expect

# Stands in a header for what is no part of it, since its use changes it.
CHANGES = 'changes with use'
_HEADER = 'header.json'
_HOOK = 'StoredTeacherHook'
_CHECK = np.dtype('<u4')
# The temperature at which the omitted classes keep their probability mass.
_TAU = 4


class LogitStore:
    """One file of rows for each augmented view of a data set, and a header.

    ``header.json`` has what the logits depend on. ``view_0003.rows`` has a row for
    each image, in the order of the data set, which ``numpy.memmap(file,
    store.dtype)`` opens; a file ends after its last row that was written, and has
    holes before it.

    A row begins with a checksum of the rest of it and of its place. So a row that was
    never written, was cut short by a kill, was written by two processes at once or
    stands in another's place is recognised, and no locks are needed.

    Args:
        path (str): The folder; made where it is missing.
        header (dict): What the logits depend on, in JSON's types: ``samples`` and
            ``classes`` (int), ``dtype`` (``'float32'`` or ``'float16'``), ``top_k``
            (int or None) and what else tells one store from another.

    Raises:
        ValueError: The folder has a store of something else, or other files.
        OSError: The folder is missing and cannot be made.
    """

    def __init__(self, path: str, header: dict[str, Any]) -> None:
        self.path = Path(path)
        self.header = json.loads(json.dumps(header))
        self.classes, self.top_k = header['classes'], header['top_k']
        value = np.dtype(header['dtype']).newbyteorder('<')
        if self.top_k is None:
            fields: list[tuple] = [('logits', value, (self.classes,))]
        else:
            number = '<u2' if self.classes <= 1 << 16 else '<u4'
            fields = [
                ('rest', '<f4'),
                ('logits', value, (self.top_k,)),
                ('classes', number, (self.top_k,)),
            ]
        self.dtype = np.dtype([('check', _CHECK), *fields])
        if not (self.path / _HEADER).exists():
            self._create()
        self._check_header()

    def read(self, view: int, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Reads the logits that are stored.

        Args:
            view (int): The number of the view.
            indices (Sequence[int]): The numbers of the images.

        Returns:
            tuple[ndarray, ndarray]: Logits, float32 of shape (N, classes), and whether
            those of each image are stored, bool of shape (N,). A row that cannot be
            read, such as that of a file of another user, is not.
        """
        size = self.dtype.itemsize
        try:
            with open(self._file(view), 'rb', buffering=0) as file:
                rows = [os.pread(file.fileno(), size, int(i) * size) for i in indices]
        except OSError:
            rows = [b''] * len(indices)
        data = b''.join(row.ljust(size, b'\0') for row in rows)
        stored = self._are_whole(view, indices, data)
        found = np.frombuffer(data, self.dtype).copy()
        found[~stored] = 0  # A damaged row may name a class that there is not.
        return self.decode(found), stored

    def write(self, view: int, indices: Sequence[int], rows: np.ndarray) -> None:
        """Writes rows.

        Args:
            view (int): The number of the view.
            indices (Sequence[int]): The numbers of the images.
            rows (ndarray): Rows from :meth:`encode`.

        Raises:
            OSError: The disk is full, or may not be written to.
        """
        size, rows = self.dtype.itemsize, rows.copy()
        rows['check'] = self._get_checks(view, indices, rows.tobytes())
        file = os.open(self._file(view), os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            for i, row in zip(indices, rows, strict=True):
                data, place = row.tobytes(), int(i) * size
                # A disk that is full within a row says so where the rest is written.
                while data:
                    written = os.pwrite(file, data, place)
                    data, place = data[written:], place + written
        finally:
            os.close(file)

    def encode(self, logits: np.ndarray) -> np.ndarray:
        """Encodes logits as rows.

        Args:
            logits (ndarray): float32 of shape (N, classes).

        Returns:
            ndarray: Of shape (N,) and ``dtype``.

        Raises:
            ValueError: A finite logit overflows the type of the store.
        """
        rows = np.zeros(len(logits), self.dtype)
        values = logits
        if self.top_k is not None:
            order = np.argpartition(-logits, self.top_k - 1, axis=1)
            kept, others = np.split(order, [self.top_k], axis=1)
            rows['classes'], rows['rest'] = kept, self._get_rest(logits, others)
            values = np.take_along_axis(logits, kept, axis=1)
        with np.errstate(over='ignore'):
            rows['logits'] = values
        lost = np.isfinite(values) & ~np.isfinite(rows['logits'])
        largest = f'{np.abs(values[lost]).max(initial=0):.4g}'
        name = self.header['dtype']
        expect(
            not lost.any(),
            f'{_HOOK}: dtype',
            name,
            f"'float32', since a logit has the size {largest}",
        )
        return rows

    def decode(self, rows: np.ndarray) -> np.ndarray:
        """Decodes rows to logits.

        Args:
            rows (ndarray): Rows from :meth:`encode`.

        Returns:
            ndarray: float32 of shape (N, classes).
        """
        if self.top_k is None:
            return rows['logits'].astype(np.float32)
        logits = np.repeat(rows['rest'][:, None], self.classes, axis=1).astype(np.float32)
        np.put_along_axis(logits, rows['classes'].astype(np.int64), rows['logits'], axis=1)
        return logits

    def get_stored(self, view: int) -> np.ndarray:
        """Whether the logits of each image are stored.

        Args:
            view (int): The number of the view.

        Returns:
            ndarray: bool of shape (samples,).
        """
        stored = np.zeros(self.header['samples'], bool)
        size, step = self.dtype.itemsize, 1 << 14
        with contextlib.suppress(OSError), open(self._file(view), 'rb') as rows:
            for start in range(0, len(stored), step):
                part = stored[start : start + step]
                data = rows.read(size * len(part)).ljust(size * len(part), b'\0')
                part[:] = self._are_whole(view, range(start, start + len(part)), data)
        return stored

    def get_views(self) -> list[int]:
        """The numbers of the views that have a file."""
        names = (re.fullmatch(r'view_(\d+)\.rows', f.name) for f in self.path.glob('view_*'))
        return sorted(int(name[1]) for name in names if name)

    def _file(self, view: int) -> Path:
        return self.path / f'view_{view:04d}.rows'

    def _get_checks(self, view: int, indices: Sequence[int], data: bytes) -> np.ndarray:
        size, content = self.dtype.itemsize, memoryview(data)
        checks = []
        for i, index in enumerate(indices):
            row = content[i * size + _CHECK.itemsize : (i + 1) * size]
            # A hole reads as zeros, and is no row.
            checks.append(zlib.crc32(row, zlib.crc32(f'{view} {index}'.encode())) or 1)
        return np.array(checks, _CHECK)

    def _are_whole(self, view: int, indices: Sequence[int], data: bytes) -> np.ndarray:
        return np.frombuffer(data, self.dtype)['check'] == self._get_checks(view, indices, data)

    def _get_rest(self, logits: np.ndarray, others: np.ndarray) -> np.ndarray:
        """The one logit for all omitted classes that keeps their probability mass."""
        scaled = np.take_along_axis(logits, others, axis=1) / _TAU
        largest = scaled.max(axis=1, keepdims=True)
        mean = np.exp(scaled - largest).mean(axis=1)
        return _TAU * (largest[:, 0] + np.log(mean))

    def _create(self) -> None:
        """Creates the folder and its header, safely if several processes do so at once."""
        self.path.mkdir(parents=True, exist_ok=True)
        if any(file.is_file() and file.name[0] != '.' for file in self.path.iterdir()):
            return
        header, new = self.path / _HEADER, self.path / f'.{uuid.uuid4().hex}'
        try:
            new.write_text(json.dumps(self.header, indent=1) + '\n')
            try:  # Whole at once, and not over that of another process.
                os.link(new, header)
            except OSError:  # It is there, or the file system has no links.
                if not header.exists():
                    new.replace(header)
        finally:
            new.unlink(missing_ok=True)

    def _check_header(self) -> None:
        name, file = f'{_HOOK}: path', self.path / _HEADER
        expect(file.is_file(), name, str(self.path), 'a store, or no files')
        try:
            found = json.loads(file.read_text())
        except ValueError:
            found = None
        expect(isinstance(found, dict), name, str(self.path), f'JSON in its {_HEADER}')
        key, *values = _find_difference(found, self.header, '') or ('', None, None)
        theirs, ours = (textwrap.shorten(repr(v), 200, placeholder='…') for v in values)
        expected = f'that of this run, whose {key[1:]} is {ours} and not {theirs}'
        expect(not key, name, str(self.path), expected)


def _find_difference(theirs: Any, ours: Any, key: str) -> tuple[str, Any, Any] | None:
    """The first place where two values of JSON differ, and what is there."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        pairs = [(f'{key}.{k}', theirs.get(k), ours.get(k)) for k in {**ours, **theirs}]
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        pairs = [(f'{key}[{i}]', *both) for i, both in enumerate(zip(theirs, ours, strict=True))]
    else:
        # By repr, since NaN is not equal to itself.
        same = repr(theirs) == repr(ours) or CHANGES in (theirs, ours)
        return None if same else (key, theirs, ours)
    found = (_find_difference(one, other, place) for place, one, other in pairs)
    return next(filter(None, found), None)
