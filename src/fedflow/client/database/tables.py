"""The app's tables. Identifiers are UUIDv7 as text, times seconds since 1970 in UTC; files go by their SHA-256."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Double, ForeignKey, Index, MetaData, Text, UniqueConstraint, false
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
    it runs: 'pause' or 'stop'. `changed_at` tells pages of news. `paced_from` is what was done at `paced_at`, when the
    first piece was since it was begun or resumed: its pace is counted from there.
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
    created_at: Mapped[float]
    began_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    paced_from: Mapped[int | None]
    paced_at: Mapped[float | None]
    changed_at: Mapped[float] = mapped_column(index=True)


class Drawing(Table):
    """A picture in the gallery, `sha256` its PNG; `adapters` are pairs of a name and a weight.

    `made_from` is what it was drawn over, and its place where it is one of a grid; empty where from noise alone.
    """

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
    made_from: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Dataset(Table):
    """A folder of pictures that stays where it is. `other_problems` are pairs of a file that is no picture and why.

    `looked_at` is when its pictures were indexed last, None before the first time. `trigger` is the tag that training
    puts before every caption, empty for none; `people` are names that captions shall not hold.
    """

    __tablename__ = "dataset"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    folder: Mapped[str] = mapped_column(unique=True)
    added_at: Mapped[float]
    looked_at: Mapped[float | None]
    other_problems: Mapped[list[Any]]
    trigger: Mapped[str] = mapped_column(default="")
    people: Mapped[list[Any]] = mapped_column(default=list)


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


class Asset(Table):
    """A model or an adapter in the library: `kind` is 'model' or 'adapter'; its files by `services.library`.

    `base` names the model that an adapter was trained on, `base_hash` is its content hash; both empty where the file
    does not tell. Of a model `base_hash` is its own. `origin` says how it came: 'how' is trained, imported, merged or
    fetched, with what belongs to it.
    """

    __tablename__ = "asset"
    __table_args__ = (UniqueConstraint("kind", "name"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    base: Mapped[str]
    base_hash: Mapped[str]
    trigger: Mapped[str]
    origin: Mapped[dict[str, Any]]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    added_at: Mapped[float]


class Loss(Table):
    """The loss of one step of a training."""

    __tablename__ = "loss"
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    loss: Mapped[float]


class Edit(Table):
    """A change of captions that can be undone: captions `before` and `after` it by the picture's path.

    `action` says what was done, `facts` with what.
    """

    __tablename__ = "edit"
    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"), index=True)
    at: Mapped[float]
    action: Mapped[str]
    facts: Mapped[dict[str, Any]]
    before: Mapped[dict[str, Any]]
    after: Mapped[dict[str, Any]]
    is_undone: Mapped[bool]


class Arrival(Table):
    """A file that a page sends in pieces: `offset_bytes` of its `length_bytes` are on the disk, by `services.arrivals`.

    `what` it is for is 'model' or 'pictures'. Where it is loose files after each other, `files` of them are pictures
    and captions, and `name` is that of the first. `dataset_id` is the dataset that it is to go into, which may be gone
    by now; None where it makes a new one. `touched_at` is when the last piece came; `cleared_at` when its bytes were
    removed since nobody went on with it.
    """

    __tablename__ = "arrival"
    id: Mapped[str] = mapped_column(primary_key=True)
    what: Mapped[str]
    name: Mapped[str]
    length_bytes: Mapped[int] = mapped_column(BigInteger)
    offset_bytes: Mapped[int] = mapped_column(BigInteger)
    touched_at: Mapped[float]
    cleared_at: Mapped[float | None]
    files: Mapped[int | None]
    dataset_id: Mapped[str | None]


class Membership(Table):
    """A federation that this machine is a member's device in; its home is a folder by `services.memberships`.

    `policy` are its owner's limits; `always` says that runs within them need no consent of their own. `said` is what
    the participant said last, `said_at` when, `said_run` of which run; `is_held_up` where it cannot go on by itself.
    `removed_at` is when the server was first heard to have shut this machine out. `left_at` is when its owner left it:
    the row is then there for its log alone.
    """

    __tablename__ = "membership"
    id: Mapped[str] = mapped_column(primary_key=True)
    server: Mapped[str]
    federation: Mapped[str]
    member: Mapped[str]
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("dataset.id", ondelete="SET NULL"))
    policy: Mapped[dict[str, Any]]
    always: Mapped[bool]
    is_paused: Mapped[bool]
    said: Mapped[str]
    said_at: Mapped[float | None]
    said_run: Mapped[str | None]
    is_held_up: Mapped[bool] = mapped_column(default=False, server_default=false())
    joined_at: Mapped[float]
    removed_at: Mapped[float | None] = mapped_column(default=None)
    left_at: Mapped[float | None] = mapped_column(default=None)


class ServerSignIn(Table):
    """A server that the owner signs in at so that it lets this machine in. `code` is a secret, and joins then.

    `user_code` is what the owner compares; `federation` and `member` are what the machine joins as, once it is let in.
    """

    __tablename__ = "server_sign_in"
    id: Mapped[str] = mapped_column(primary_key=True)
    server: Mapped[str]
    device: Mapped[str]
    code: Mapped[str]
    user_code: Mapped[str]
    created_at: Mapped[float]
    expires_at: Mapped[float]
    federation: Mapped[str]
    member: Mapped[str]


class Consent(Table):
    """A run that asks for its owner's consent: `facts` as the server told them, `pictures` would be trained on.

    `answer` is one of those in `services.consents`; where it is for single rounds, `rounds` are those.
    """

    __tablename__ = "consent"
    membership_id: Mapped[str] = mapped_column(ForeignKey("membership.id", ondelete="CASCADE"), primary_key=True)
    run_id: Mapped[str] = mapped_column(primary_key=True)
    facts: Mapped[dict[str, Any]]
    pictures: Mapped[int]
    answer: Mapped[str]
    rounds: Mapped[list[Any]]
    asked_at: Mapped[float]
    answered_at: Mapped[float | None]


class Sending(Table):
    """Bytes that left this machine for a federation's server: `what` was sent `times` times from `at` to `until`.

    `run_id` and `round` are what they were for; None where they were for none, and of lines of before 0007 where no
    address told it. What was sent before anything was joined belongs to no federation: its `server` is named then.
    """

    __tablename__ = "sending"
    __table_args__ = (
        Index("ix_sending_of_federation", "membership_id", "what"),
        Index("ix_sending_of_run", "run_id", "what"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    membership_id: Mapped[str | None] = mapped_column(ForeignKey("membership.id", ondelete="CASCADE"), index=True)
    at: Mapped[float]
    what: Mapped[str] = mapped_column(index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    times: Mapped[int]
    until: Mapped[float]
    run_id: Mapped[str | None] = mapped_column(default=None, index=True)
    round: Mapped[int | None] = mapped_column(default=None)
    server: Mapped[str] = mapped_column(default="", server_default="")
