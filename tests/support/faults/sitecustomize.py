"""Kills its own process with SIGKILL at named points, once each; loaded by Python where this folder is on its path.

KILL_AT: points `module:attribute:before` or `:after`, separated by spaces; KILLED: folder of one empty file per
point that has struck. Nothing of the product is changed but that these calls may never return.
"""

import functools
import importlib.abc
import importlib.machinery
import os
import signal
import sys
from pathlib import Path


def _points() -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for point in os.environ.get("KILL_AT", "").split():
        module, attribute, when = point.split(":")
        found.setdefault(module, []).append((attribute, when))
    return found


def _strike(point: str) -> None:
    struck = Path(os.environ["KILLED"]) / point.replace(":", "+")
    try:
        os.close(os.open(struck, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _arm(module: object, name: str, attribute: str, when: str) -> None:
    *path, last = attribute.split(".")
    owner = functools.reduce(getattr, path, module)
    called = getattr(owner, last)

    @functools.wraps(called)
    def deadly(*args: object, **kwargs: object) -> object:
        point = f"{name}:{attribute}:{when}"
        if when == "before":
            _strike(point)
        answer = called(*args, **kwargs)
        if when == "after":
            _strike(point)
        return answer

    setattr(owner, last, deadly)


class _Loader(importlib.abc.Loader):
    def __init__(self, name: str, inner: importlib.abc.Loader, points: list[tuple[str, str]]) -> None:
        self.name, self.inner, self.points = name, inner, points

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> object:
        return self.inner.create_module(spec)

    def exec_module(self, module: object) -> None:
        self.inner.exec_module(module)
        for attribute, when in self.points:
            _arm(module, self.name, attribute, when)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, points: dict[str, list[tuple[str, str]]]) -> None:
        self.points = points

    def find_spec(self, name: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if name not in self.points:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(name, spec.loader, self.points[name])
        return spec


if _points():
    sys.meta_path.insert(0, _Finder(_points()))
