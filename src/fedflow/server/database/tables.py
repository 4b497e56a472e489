"""FedFlowServer's tables.

Identifiers are UUIDv7 as text, times are seconds since 1970 in UTC by the server's clock, content is named by its
SHA-256. What happened is never overwritten: a receipt, a refusal and a committed round stay as they were written.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from fedflow.server.database.base import NUMBER, Table


class Federation(Table):
    """Organisations that train together. `policies` are its rules, as far as they differ from the defaults.

    Once `closed_at` is set nothing new begins there: no run, no code, no member, no device.
    """

    __tablename__ = "federation"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    policies: Mapped[dict[str, Any]] = mapped_column(JSON, server_default="{}", deferred=True)
    created_at: Mapped[float]
    closed_at: Mapped[float | None]


class Member(Table):
    """An organisation in a federation. `max_examples` caps the example count that its updates may claim.

    `shows_counts` says whether its name and example counts are shown beyond the federation.
    """

    __tablename__ = "member"
    __table_args__ = (UniqueConstraint("federation_id", "name"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    federation_id: Mapped[str] = mapped_column(ForeignKey("federation.id"), index=True)
    name: Mapped[str]
    max_examples: Mapped[int]
    shows_counts: Mapped[bool] = mapped_column(server_default=false())
    created_at: Mapped[float]
    removed_at: Mapped[float | None]


class JoinCode(Table):
    """A one-time code with which a device joins as the member `member_name`; kept as the SHA-256 of its text."""

    __tablename__ = "join_code"
    hash: Mapped[str] = mapped_column(primary_key=True)
    federation_id: Mapped[str] = mapped_column(ForeignKey("federation.id"), index=True)
    member_name: Mapped[str]
    max_examples: Mapped[int]
    created_at: Mapped[float]
    expires_at: Mapped[float]
    used_at: Mapped[float | None]


class Device(Table):
    """A participant's machine: its Ed25519 public key, 32 bytes in base64.

    `doing` is what it did for which run, by its own word when it asked last: a word of `protocol.Doing` by the run.
    """

    __tablename__ = "device"
    id: Mapped[str] = mapped_column(primary_key=True)
    member_id: Mapped[str] = mapped_column(ForeignKey("member.id"), index=True)
    name: Mapped[str]
    public_key: Mapped[str]
    version: Mapped[str]
    created_at: Mapped[float]
    seen_at: Mapped[float]
    doing: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    revoked_at: Mapped[float | None]


class Challenge(Table):
    """What a device must sign to get a token; used once."""

    __tablename__ = "challenge"
    nonce: Mapped[str] = mapped_column(primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"), index=True)
    expires_at: Mapped[float]


class DeviceToken(Table):
    """A device's short-lived access token, by the SHA-256 of its text."""

    __tablename__ = "device_token"
    hash: Mapped[str] = mapped_column(primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"), index=True)
    expires_at: Mapped[float]


class File(Table):
    """A blob in the store, and what it is: base, adapter, residual, merged, features, picture, chart, export.

    Of kind 'update' are those that members have sent.
    """

    __tablename__ = "file"
    sha256: Mapped[str] = mapped_column(primary_key=True)
    size_bytes: Mapped[int]
    kind: Mapped[str]
    created_at: Mapped[float]


class SharedFile(Table):
    """A blob that every member of a federation may read."""

    __tablename__ = "shared_file"
    federation_id: Mapped[str] = mapped_column(ForeignKey("federation.id"), primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("file.sha256", ondelete="CASCADE"), primary_key=True, index=True)


class Run(Table):
    """One plan carried out by a federation. `plan` is frozen when the row is written.

    `base` is the blob that lists the base model's files (JSON: path, sha256, size_bytes), `base_hash` the model's
    content hash, `initial` the global adapter before round 1, `prepared` the shapes and bytes of an update; all
    four are known once the worker has prepared the run. `charts` are blobs by what they show. What may be long is read
    when asked for.
    """

    __tablename__ = "run"
    id: Mapped[str] = mapped_column(primary_key=True)
    federation_id: Mapped[str] = mapped_column(ForeignKey("federation.id"), index=True)
    name: Mapped[str]
    plan: Mapped[dict[str, Any]] = mapped_column(deferred=True, deferred_group="long")
    status: Mapped[str]
    round: Mapped[int]
    base: Mapped[str | None]
    base_hash: Mapped[str | None]
    initial: Mapped[str | None]
    prepared: Mapped[dict[str, Any] | None] = mapped_column(JSON, deferred=True, deferred_group="long")
    charts: Mapped[dict[str, Any]] = mapped_column(JSON, server_default="{}", deferred=True, deferred_group="charts")
    message: Mapped[str]
    created_at: Mapped[float]
    paused_at: Mapped[float | None]
    finished_at: Mapped[float | None]


class RunMember(Table):
    """A member that a run was planned with, in the federation's order, and its consent: asked, accepted, declined."""

    __tablename__ = "run_member"
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"), primary_key=True)
    member_id: Mapped[str] = mapped_column(ForeignKey("member.id"), primary_key=True, index=True)
    position: Mapped[int]
    consent: Mapped[str]
    consent_at: Mapped[float | None]
    num_examples: Mapped[int | None]


class Round(Table):
    """One round of a run: who was selected, until when, and what was committed.

    `merged` are the base weights with all residuals up to this round's in them, where they were made.
    """

    __tablename__ = "round"
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    phase: Mapped[str]
    selected: Mapped[list[str]]
    opened_at: Mapped[float]
    deadline_at: Mapped[float]
    closed_at: Mapped[float | None]
    committed_at: Mapped[float | None]
    adapter: Mapped[str | None]
    residual: Mapped[str | None]
    merged: Mapped[str | None]
    report: Mapped[dict[str, Any] | None] = mapped_column(JSON)


class Receipt(Table):
    """An accepted update: one per run, round and member, whatever happens."""

    __tablename__ = "receipt"
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"), primary_key=True)
    round: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[str] = mapped_column(ForeignKey("member.id"), primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("device.id"))
    sha256: Mapped[str]
    num_examples: Mapped[int]
    metrics: Mapped[dict[str, Any]]
    received_at: Mapped[float]


class Refusal(Table):
    """An update that was refused, with the reason; its bytes are kept aside where there are any."""

    __tablename__ = "refusal"
    id: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"), index=True)
    round: Mapped[int]
    member_id: Mapped[str] = mapped_column(ForeignKey("member.id"), index=True)
    sha256: Mapped[str | None]
    reason: Mapped[str]
    refused_at: Mapped[float]


class Upload(Table):
    """A tus upload. Its bytes up to `offset_bytes` are on the disk, or in the S3-compatible store as pieces.

    `sha256` is set when it is complete.

    A device sends an update, a person (`person_id`) a model or adapter.
    """

    __tablename__ = "upload"
    id: Mapped[str] = mapped_column(primary_key=True)
    device_id: Mapped[str | None] = mapped_column(ForeignKey("device.id"), index=True)
    person_id: Mapped[str | None] = mapped_column(ForeignKey("person.id"), index=True)
    length_bytes: Mapped[int]
    offset_bytes: Mapped[int]
    sha256: Mapped[str | None]
    upload_metadata: Mapped[str]
    created_at: Mapped[float]
    touched_at: Mapped[float]


class UploadPiece(Table):
    """Acknowledged bytes of an upload that lie in the S3-compatible store; one after the other they are the upload."""

    __tablename__ = "upload_piece"
    upload_id: Mapped[str] = mapped_column(ForeignKey("upload.id", ondelete="CASCADE"), primary_key=True)
    offset_bytes: Mapped[int] = mapped_column(primary_key=True)
    size_bytes: Mapped[int]
    sha256: Mapped[str]


class Score(Table):
    """Figures and pictures of one model of a run: `who` is base, aggregated, or the member whose update it is.

    FID and KID are those of `features`, a blob, against the held-out pictures; `kid_floor` is the KID of one half of
    these against the other. FID's interval and the floor are None where they were not measured. `gallery` are blobs of
    pictures, one for each of `prompts`.
    """

    __tablename__ = "score"
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"), primary_key=True)
    round: Mapped[int] = mapped_column(primary_key=True)
    who: Mapped[str] = mapped_column(primary_key=True)
    num_examples: Mapped[int]
    steps: Mapped[int]
    fid: Mapped[float]
    kid: Mapped[float]
    fid_low: Mapped[float | None]
    fid_high: Mapped[float | None]
    kid_low: Mapped[float]
    kid_high: Mapped[float]
    kid_floor: Mapped[float | None]
    kid_floor_low: Mapped[float | None]
    kid_floor_high: Mapped[float | None]
    extractor: Mapped[str]
    resize: Mapped[str]
    num_heldout: Mapped[int]
    features: Mapped[str]
    prompts: Mapped[list[str]]
    gallery: Mapped[list[str]]
    seconds: Mapped[float]
    scored_at: Mapped[float]


class Artifact(Table):
    """A model or an adapter of a federation, by name; what it is made of are its versions.

    `owner_id` is the person that brought it in, None where the federation made it: what runs make is in none that
    somebody owns; an owner who no longer belongs to the federation counts as none. `visibility` says who sees it:
    private (its owner, coordinators where there is none), federation, public (everybody of this server). `card` is its
    model card in Markdown, `licence` an SPDX identifier or a few words, `examples` are blobs of pictures drawn with it.
    """

    __tablename__ = "artifact"
    __table_args__ = (UniqueConstraint("federation_id", "kind", "name"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    federation_id: Mapped[str] = mapped_column(ForeignKey("federation.id"), index=True)
    kind: Mapped[str]
    name: Mapped[str]
    owner_id: Mapped[str | None] = mapped_column(ForeignKey("person.id"))
    visibility: Mapped[str] = mapped_column(server_default="federation")
    licence: Mapped[str] = mapped_column(server_default="")
    card: Mapped[str] = mapped_column(server_default="")
    trigger_words: Mapped[list[str]] = mapped_column(server_default="[]")
    examples: Mapped[list[str]] = mapped_column(server_default="[]")
    created_at: Mapped[float]


class Release(Table):
    """A version given out under a `tag`: its files by layout, each with SHA-256 and size, and its signed provenance.

    `provenance` is a blob, a DSSE envelope of an in-toto statement. A release is never changed; one that is withdrawn
    keeps its line, and says in `withdrawal_reason` why; those of before it was asked for have none.
    """

    __tablename__ = "release"
    __table_args__ = (UniqueConstraint("artifact_id", "tag"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    artifact_id: Mapped[str] = mapped_column(ForeignKey("artifact.id"))
    version_id: Mapped[str] = mapped_column(ForeignKey("version.id"), index=True)
    tag: Mapped[str]
    notes: Mapped[str]
    files: Mapped[dict[str, Any]]
    provenance: Mapped[str]
    released_by: Mapped[str | None] = mapped_column(ForeignKey("person.id"), index=True)
    released_at: Mapped[float]
    withdrawn_by: Mapped[str | None] = mapped_column(ForeignKey("person.id"), index=True)
    withdrawn_at: Mapped[float | None]
    withdrawal_reason: Mapped[str] = mapped_column(server_default="")


class Version(Table):
    """One version of a model or adapter, and where it comes from.

    `content` is the blob of the adapter, of a trained model's weights, or of the list of a base model's files;
    `content_hash` what that base model is known by. `parent_id` is the version that training went on from, `base_id`
    the base model's. What a run made names run and round; `facts` say how, `files` are exports by layout.
    """

    __tablename__ = "version"
    __table_args__ = (UniqueConstraint("artifact_id", "number"), UniqueConstraint("run_id", "round"))
    id: Mapped[str] = mapped_column(primary_key=True)
    artifact_id: Mapped[str] = mapped_column(ForeignKey("artifact.id"))
    number: Mapped[int]
    content: Mapped[str]
    content_hash: Mapped[str | None]
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("version.id"))
    base_id: Mapped[str | None] = mapped_column(ForeignKey("version.id"))
    run_id: Mapped[str | None] = mapped_column(ForeignKey("run.id"))
    round: Mapped[int | None]
    facts: Mapped[dict[str, Any]]
    files: Mapped[dict[str, Any]]
    created_at: Mapped[float]


class Import(Table):
    """A model or adapter on its way into a federation's registry, and what became of it.

    `source` says where it comes from: upload (`content` is its blob, `place` its file's name), folder (`place` counts
    from the server's folder of imports), hub (`place` is a name there) or machine (`place` is a path that whoever runs
    the server has given). `base_id` is what an adapter belongs to, or whose settings a checkpoint takes. `phase` says
    how far it is: waiting, fetching, checking, storing, done, failed; `message` why it failed.
    """

    __tablename__ = "import"
    id: Mapped[str] = mapped_column(primary_key=True)
    federation_id: Mapped[str] = mapped_column(ForeignKey("federation.id"), index=True)
    asked_by: Mapped[str | None] = mapped_column(ForeignKey("person.id"), index=True)
    kind: Mapped[str]
    name: Mapped[str]
    source: Mapped[str]
    place: Mapped[str]
    content: Mapped[str | None]
    base_id: Mapped[str | None] = mapped_column(ForeignKey("version.id"), index=True)
    phase: Mapped[str]
    message: Mapped[str] = mapped_column(server_default="")
    version_id: Mapped[str | None] = mapped_column(ForeignKey("version.id"), index=True)
    created_at: Mapped[float]
    finished_at: Mapped[float | None]


class Job(Table):
    """Work for a worker: prepare, aggregate, merge, evaluate, chart, export, import, download.

    `key` makes it unique; the lease says who is at it. `subject` is whose model an evaluation is of, which import it
    carries out, or which version it writes in which layout; those two belong to no run.
    Of its `attempts` so many ended in `errors`; in the others it was done, or the worker died.
    """

    __tablename__ = "job"
    id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    run_id: Mapped[str | None] = mapped_column(ForeignKey("run.id"), index=True)
    round: Mapped[int]
    subject: Mapped[str] = mapped_column(server_default="")
    status: Mapped[str] = mapped_column(index=True)
    attempts: Mapped[int]
    errors: Mapped[int] = mapped_column(server_default="0")
    worker: Mapped[str | None]
    leased_until: Mapped[float | None]
    error: Mapped[str | None]
    created_at: Mapped[float]
    finished_at: Mapped[float | None]

    @property
    def run(self) -> str:
        """The run that it belongs to; only for kinds that belong to one."""
        assert self.run_id is not None, f"job '{self.key}' belongs to no run"  # noqa: S101
        return self.run_id


class Process(Table):
    """A worker or evaluator, called HOST-PROCESS as in its jobs, and when it was seen last. `pool` is what it does."""

    __tablename__ = "process"
    name: Mapped[str] = mapped_column(primary_key=True)
    pool: Mapped[str]
    version: Mapped[str]
    started_at: Mapped[float]
    seen_at: Mapped[float]


class Event(Table):
    """Something that happened in a federation, in order; what the event stream and `explain` read."""

    __tablename__ = "event"
    id: Mapped[int] = mapped_column(NUMBER, primary_key=True, autoincrement=True)
    federation_id: Mapped[str] = mapped_column(ForeignKey("federation.id"), index=True)
    run_id: Mapped[str | None] = mapped_column(ForeignKey("run.id"), index=True)
    kind: Mapped[str]
    facts: Mapped[dict[str, Any]]
    at: Mapped[float]


class IdempotencyKey(Table):
    """The answer to a POST that carried this key, so that the same POST again gets the same answer."""

    __tablename__ = "idempotency_key"
    caller: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[str]
    status: Mapped[int]
    body: Mapped[str]
    created_at: Mapped[float]
