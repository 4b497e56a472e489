"""Kills its own process with SIGKILL at named points; loaded by Python where this folder is on its path.

KILL_AT: points, separated by spaces, each `module:attribute:when`, and after it where wanted
- `<S`: up to so many seconds later; without it at once;
- `@N`: at one of the first N calls that come, counted over all processes; without it at the first;
- `*K`: so many times, each counted anew from the one before; without it once.
`when` is `before` the call, `after` it (it has returned, and its process goes on for the time drawn), or `during` it
(the time drawn after its begin, and at the latest when it returns). What is drawn follows from KILL_SEED.

KILLED: the folder in which every strike leaves a file, `point#number` with `:` as `+`: when, who (KILL_WHO) and
whether a call `during` which it was to be was still under way, as JSON. Without it nothing happens, nor at a point that
is not in KILL_AT by then, so that points may be armed before it is known who strikes where. `told` as `when` kills
nobody: each response, the call's first argument, is appended to `answers` there. Nothing of the product is changed but
that these calls may never return.

In the server's web process, half of the strikes take gunicorn's first process along, which would fork another.
"""

import functools
import importlib.abc
import importlib.machinery
import json
import os
import random
import re
import signal
import sys
import threading
import time
from pathlib import Path

SHAPE = re.compile(r"([\w.]+):([\w.]+):(before|after|during|told)(?:<([\d.]+))?(?:@(\d+))?(?:\*(\d+))?")
WEB = "FEDFLOW_SERVER_SETTINGS"


class _Point:
    def __init__(self, text: str) -> None:
        shape = SHAPE.fullmatch(text)
        assert shape is not None, text
        self.text = text
        self.module, self.attribute, self.when = shape[1], shape[2], shape[3]
        self.longest_s, self.among, self.times = float(shape[4] or 0), int(shape[5] or 1), int(shape[6] or 1)

    @property
    def file(self) -> Path:
        return Path(os.environ["KILLED"]) / self.text.replace(":", "+")

    def due(self) -> tuple[int, float] | None:
        """Count a call; where it is to be struck, the strike's number and after how many seconds."""
        if "KILLED" not in os.environ or self.text not in os.environ["KILL_AT"].split():
            return None
        counting = os.open(f"{self.file}.calls", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        try:
            os.write(counting, b".")
            call = os.lseek(counting, 0, os.SEEK_CUR)
        finally:
            os.close(counting)
        drawn = self._random("calls")
        at = 0
        for number in range(1, self.times + 1):
            at += 1 + drawn.randrange(self.among)
            after_s = drawn.uniform(0.0, self.longest_s)
            if at == call:
                return number, after_s
        return None

    def strike(self, number: int, *, under_way: bool = True) -> None:
        note = {"at": time.time(), "who": os.environ.get("KILL_WHO", ""), "under_way": under_way}
        try:
            file = os.open(f"{self.file}#{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return  # another thread of this process is at it
        os.write(file, json.dumps(note).encode())
        os.close(file)
        if WEB in os.environ and os.getpgrp() == os.getppid() and self._random(f"whole {number}").random() < 0.5:
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    def _random(self, what: str) -> random.Random:
        return random.Random(f"{os.environ.get('KILL_SEED', '')} {self.text} {what}")

    def strike_later(self, number: int, after_s: float) -> None:
        if not after_s:
            self.strike(number)
        timer = threading.Timer(after_s, self.strike, (number,))
        timer.daemon = True
        timer.start()


def _tell(response: object) -> None:
    if "KILLED" not in os.environ:
        return
    request = response.request
    told = {
        "at": time.time(),
        "who": os.environ.get("KILL_WHO", ""),
        "method": request.method,
        "url": str(request.url),
        "status": response.status_code,
        "offset": response.headers.get("Upload-Offset"),
        "location": response.headers.get("Location"),
        "metadata": request.headers.get("Upload-Metadata"),
    }
    with open(Path(os.environ["KILLED"]) / "answers", "ab", buffering=0) as answers:
        answers.write(json.dumps(told).encode() + b"\n")


def _arm(module: object, point: _Point) -> None:
    *path, last = point.attribute.split(".")
    owner = functools.reduce(getattr, path, module)
    called = getattr(owner, last)

    @functools.wraps(called)
    def deadly(*args: object, **kwargs: object) -> object:
        if point.when == "told":
            _tell(args[0])
            return called(*args, **kwargs)
        due = None if point.when == "after" else point.due()
        if due is not None:
            point.strike_later(*due)
        answer = called(*args, **kwargs)
        if due is not None:
            point.strike(due[0], under_way=False)
        if point.when == "after" and (due := point.due()) is not None:
            point.strike_later(*due)
        return answer

    setattr(owner, last, deadly)


class _Loader(importlib.abc.Loader):
    def __init__(self, inner: importlib.abc.Loader, points: list[_Point]) -> None:
        self.inner, self.points = inner, points

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> object:
        return self.inner.create_module(spec)

    def exec_module(self, module: object) -> None:
        self.inner.exec_module(module)
        for point in self.points:
            _arm(module, point)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, points: list[_Point]) -> None:
        self.points = points

    def find_spec(self, name: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        points = [point for point in self.points if point.module == name]
        if not points:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, points)
        return spec


_points = [_Point(text) for text in os.environ.get("KILL_AT", "").split()]
if _points:
    sys.meta_path.insert(0, _Finder(_points))
