"""The app's tables. Identifiers are UUIDv7 as text, times seconds since 1970 in UTC; files go by their SHA-256."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Double, ForeignKey, MetaData, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Table(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {str: Text, float: Double, dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012


class Job(Table):
    """Something that the worker does: `status` is one of `services.jobs.STATUS`.

    `asked` are its settings, `done` of `of` pieces of its work are done. `wanted` is what the owner wants of it while
    it runs: 'pause' or 'stop'. `worker` is the number of the process that is at it. `changed_at` tells pages of news.
    """

    __tablename__ = "job"
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    title: Mapped[str]
    asked: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(index=True)
    wanted: Mapped[str | None]
    done: Mapped[int]
    of: Mapped[int]
    message: Mapped[str]
    worker: Mapped[int | None]
    created_at: Mapped[float]
    began_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    changed_at: Mapped[float] = mapped_column(index=True)


class Drawing(Table):
    """A picture in the gallery, `sha256` its PNG; `adapters` are pairs of a name and a weight."""

    __tablename__ = "drawing"
    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(index=True)
    sha256: Mapped[str]
    prompt: Mapped[str]
    negative: Mapped[str]
    model: Mapped[str]
    model_hash: Mapped[str]
    adapters: Mapped[list[Any]]
    seed: Mapped[int]
    steps: Mapped[int]
    guidance: Mapped[float]
    sampler: Mapped[str]
    width: Mapped[int]
    height: Mapped[int]
    drawn_at: Mapped[float]


class Dataset(Table):
    """A folder of pictures that stays where it is. `other_problems` are pairs of a file that is no picture and why.

    `looked_at` is when its pictures were indexed last, None before the first time.
    """

    __tablename__ = "dataset"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    folder: Mapped[str] = mapped_column(unique=True)
    added_at: Mapped[float]
    looked_at: Mapped[float | None]
    other_problems: Mapped[list[Any]]


class Picture(Table):
    """What is known of one picture: `entry` is that of `datasets.index`, by `services.entries`; `path` is relative.

    `problem` says why it cannot be used; empty where it can.
    """

    __tablename__ = "picture"
    __table_args__ = (UniqueConstraint("dataset_id", "path"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    path: Mapped[str]
    caption: Mapped[str]
    problem: Mapped[str]
    entry: Mapped[dict[str, Any]] = mapped_column(deferred=True)
