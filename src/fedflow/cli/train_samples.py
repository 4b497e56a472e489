"""Pictures that `fedflow train` draws on the way, to see how it goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fedflow.generation.sample import Learner, sample
from fedflow.models import BaseModel
from fedflow.storage import write_atomic


@dataclass
class Samples:
    """A picture of `prompt` every so many steps and at the end, as step-NNNNNN.png in `folder`; none where it is empty.

    `side` is in pixels; `written` are the files of this run.
    """

    model: BaseModel
    learner: Learner
    prompt: str
    every: int
    seed: int
    side: int
    folder: Path
    written: list[Path] = field(default_factory=list)

    def draw(self, step: int, steps: int) -> None:
        """Draw and write the picture of this step of so many, if it has one. Raises RunError, StorageError."""
        if not self.prompt or (step % self.every and step != steps):
            return
        path = self.folder / f"step-{step:06d}.png"
        png = sample(self.model, self.prompt, self.seed, self.side, self.learner, step)
        self.folder.mkdir(exist_ok=True)
        write_atomic(path, png)
        self.written.append(path)
