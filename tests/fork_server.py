"""Runs Python programs in forks of one process that has imported the large packages.

Most programs of the tests work for a second or two, after five seconds of imports. Nothing
of mmpretrain, mmrazor or skd_mmrazor is imported before a program starts.

It reads a request a line, ``{"argv": …, "cwd": …, "env": …, "output": path}``, and answers
with the exit code.
"""

import gc
import importlib
import json
import os
import runpy
import sys
import types
from typing import Any

import numpy as np
from mmengine.config import config

PACKAGES = ['matplotlib.figure', 'mmcv.cnn', 'mmcv.transforms', 'mmengine.runner']
PACKAGES += ['sklearn.datasets', 'torchvision']


def serve() -> dict[str, Any]:
    """Forks for each request, and returns it in the fork."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            return json.loads(line)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    raise SystemExit


def run(argv: list[str]) -> None:
    """Runs a program as ``python *argv`` does."""
    if argv[0] == '-m':
        sys.argv, sys.path[0] = argv[1:], os.getcwd()
        runpy.run_module(argv[1], run_name='__main__', alter_sys=True)
    elif argv[0] == '-c':
        sys.argv, sys.path[0] = ['-c', *argv[2:]], ''
        module = sys.modules['__main__'] = types.ModuleType('__main__')
        exec(argv[1], module.__dict__)
    else:
        sys.argv, sys.path[0] = argv, os.path.dirname(os.path.abspath(argv[0]))
        runpy.run_path(argv[0], run_name='__main__')


if __name__ == '__main__':
    for name in PACKAGES:
        importlib.import_module(name)
    # As in conftest.py.
    config.FormatCode = lambda code, **_: (code, True)
    gc.freeze()
    request = serve()
    output = os.open(request['output'], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(request['cwd'])
    os.environ.clear()
    os.environ.update(request['env'])
    sys.path[1:1] = request['env']['PYTHONPATH'].split(os.pathsep)
    np.random.seed()  # Else the same in all forks.
    run(request['argv'])
