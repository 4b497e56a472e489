"""The table of try-outs: pictures that people have drawn with a release."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from fedflow.server.database.base import Table


class Tryout(Table):
    """Pictures that a person asked for with a release, with their settings, and how far they are.

    `status` is waiting, running, done, failed (`message` says why), cancelled, or deleted: then prompt and pictures are
    gone, and the line stays as long as it counts against the person's day. `attempt` counts up when a try-out is asked
    for again, `asked_at` is when it was last. `pictures` are blobs in the seeds' order; `steps_done` counts denoising
    steps of all pictures. `spent` are the pictures that count against the day of `asked_at`.
    """

    __tablename__ = "tryout"
    __table_args__ = (Index("ix_tryout_person_id", "person_id", "release_id", "id"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"))
    release_id: Mapped[str] = mapped_column(ForeignKey("release.id"), index=True)
    prompt: Mapped[str]
    negative: Mapped[str]
    count: Mapped[int]
    strength: Mapped[float]
    steps: Mapped[int]
    guidance: Mapped[float]
    seed: Mapped[int]
    size_pixels: Mapped[int | None]
    status: Mapped[str] = mapped_column(index=True)
    attempt: Mapped[int]
    message: Mapped[str]
    pictures: Mapped[list[str]]
    steps_done: Mapped[int]
    spent: Mapped[int]
    asked_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
