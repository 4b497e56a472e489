"""Every setting of a run that a person can give, described once: plan files, options, forms and docs read this.

A plan is a TOML file. Unknown keys and wrong types are refused with the key's name; a plan is frozen once read.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from fedflow.errors import PlanError

FOLDER_NAME = re.compile(r"[^\x00-\x1f\x7f/\\.][^\x00-\x1f\x7f/\\]{0,79}")

SHIPPED = "shipped:"
"""Prefix of a data folder that comes with FedFlow."""

DEMO = "shipped:demo"
"""The demo's pictures."""

REGISTRY = "registry:"
"""Prefix of a base model that is in the registry of a run's federation: `registry:NAME`, `registry:NAME/VERSION`."""

STARTER = "starter"
"""The base model that comes with FedFlow."""

HUB = "hub:"
"""Before a name on the model hub, where a folder of that name must not be taken for it."""

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
"""A base model on the Hugging Face hub, or adapter; a folder may be called so too."""

Method = Literal["fedavg", "fedit", "fedex-lora"]
Weighting = Literal["samples", "uniform"]


AGGREGATED = "aggregated"
CENTRAL = "central"
ALONE = "alone-"
BASE = "base"
FLOOR = "floor"
RESERVED_NAMES = frozenset({AGGREGATED, CENTRAL, BASE, FLOOR, "residual", "joint"})
"""Rows of a run's table and files of its rounds that are no clients'."""

GIVEN = {"given": True}
"""The validation's context where somebody gives the settings; without it they are read again, as they were kept."""

YEAR_S = 31_536_000
LEAST_DEADLINE_S = 10
"""Within less nobody answers, and a round that lacks its quorum would tell of a new deadline without end."""

MOST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Within:
    """Limits beyond which a number makes no sense, asked of who gives it (`GIVEN`).

    Settings that were kept are taken without: a run's plan of before there was a limit still opens.
    """

    le: float
    ge: float | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """How pydantic checks it."""
        return core_schema.with_info_after_validator_function(self._checked, handler(source))

    def _checked(self, value: float, info: ValidationInfo) -> float:
        if info.context == GIVEN and value > self.le:
            raise PydanticKnownError("less_than_equal", {"le": self.le})
        if info.context == GIVEN and self.ge is not None and value < self.ge:
            raise PydanticKnownError("greater_than_equal", {"ge": self.ge})
        return value


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown keys, no silent conversion from text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Data(Settings):
    """Where the pictures are. Relative folders count from the plan file."""

    root: str | None = Field(
        None,
        description="Folder that holds the clients' folders; 'shipped:demo' are the demo pictures, which a run on one "
        "machine takes where none is given.",
    )
    clients: tuple[str, ...] = Field(
        ("client-1", "client-2", "client-3", "client-4", "client-5"),
        strict=False,
        min_length=1,
        description="One folder per client, inside the root; the folder's name is the client's name.",
    )
    heldout: str = Field(
        "heldout", description="Folder of held-out pictures that scores are taken against, inside the root."
    )
    trigger: str | None = Field(None, description="Tag put in front of every caption that lacks it.")

    @model_validator(mode="after")
    def _clients_differ(self) -> Data:
        if len(set(self.clients)) != len(self.clients):
            raise ValueError("clients: every client needs a folder of its own, one is named twice")
        for key, name in (*(("clients", client) for client in self.clients), ("heldout", self.heldout)):
            if not FOLDER_NAME.fullmatch(name):
                raise ValueError(
                    f"{key}: '{name}' is no name of a folder inside the root; take out slashes and leading dots"
                )
        if self.heldout in self.clients:
            raise ValueError(f"heldout: '{self.heldout}' is a client's folder; held-out pictures train nobody")
        for client in self.clients:
            if client in RESERVED_NAMES or client.startswith(ALONE):
                raise ValueError(f"clients: '{client}' is what the table calls one of its own rows; rename the folder")
        return self


class Lora(Settings):
    """The adapter that is trained."""

    rank: int = Field(
        16,
        ge=1,
        le=1024,
        description="Size of the adapter (rank): a larger one learns more, and its file and what is sent grow with it.",
    )
    alpha: Annotated[float, Field(gt=0), Within(4096)] = Field(
        16.0,
        description="Strength of the adapter, counted against its rank: where both are equal it acts once.",
    )
    text_encoder: bool = Field(
        False, description="Train an adapter on the text encoder, which reads the captions, too."
    )


class Training(Settings):
    """One client's local training in one round."""

    batch_size: Annotated[int, Within(4096)] = Field(8, ge=1, description="Pictures per step; more need more memory.")
    epochs: Annotated[int, Within(10_000)] = Field(4, ge=1, description="Passes over the client's pictures per round.")
    learning_rate: Annotated[float, Field(gt=0), Within(1, 1e-9)] = Field(
        1e-3,
        description="How far a step moves what is learnt (peak, AdamW); training diverges where it is too high.",
    )
    schedule: Literal["constant", "cosine"] = Field(
        "cosine",
        description="Learning rate over a client's steps of one round: constant, or down to zero along a cosine.",
    )
    warmup_steps: Annotated[int, Within(1_000_000)] = Field(
        0, ge=0, description="Steps over which the learning rate rises at first."
    )
    gradient_accumulation: Annotated[int, Within(4096)] = Field(
        1,
        ge=1,
        description="Batches added up for one step: learns as a larger batch does, in the memory of a small one.",
    )
    min_snr_gamma: Annotated[float, Field(gt=0), Within(1000, 1e-3)] = Field(
        5.0,
        description="Signal-to-noise ratio above which a noise level counts less in the loss (Min-SNR); 5 is usual.",
    )
    weight_floor: float = Field(
        0.25,
        ge=0.0,
        le=1.0,
        description="The least that a noise level counts in the loss, from 0 to 1, so that pure noise is learnt too.",
    )
    flip: bool = Field(
        True, description="Train on every picture's mirror image too; off where left and right matter, as in letters."
    )
    caption_dropout: float = Field(
        0.1,
        ge=0.0,
        lt=1.0,
        description="Share of examples trained without caption; drawing with guidance needs some.",
    )
    checkpoint_every: Annotated[int, Within(1_000_000)] = Field(
        50, ge=1, description="Steps between checkpoints; a stopped training resumes there."
    )

    def steps(self, num_examples: int) -> int:
        """Optimiser steps of one round with so many pictures."""
        return steps_for(num_examples, self.batch_size, self.epochs, self.gradient_accumulation)


def steps_for(num_examples: int, batch_size: int, epochs: int, accumulation: int = 1) -> int:
    """Optimiser steps that see every example at least `epochs` times.

    The shuffled epochs follow each other as one stream that full batches are taken from, so it is
    ceil(num_examples * epochs / (batch_size * accumulation)): only the very last step is rounded up, with examples
    of one more epoch, and no epoch ends in a small batch.
    """
    if min(num_examples, batch_size, epochs, accumulation) < 1:
        counts = f"{num_examples} examples, batch size {batch_size}, {epochs} epochs, accumulation {accumulation}"
        raise ValueError(f"{counts}: each must be at least 1")
    return -(-num_examples * epochs // (batch_size * accumulation))


class Baselines(Settings):
    """What the federation is compared with, at the same number of optimiser steps."""

    alone: bool = Field(False, description="Train every client alone too, never federated.")
    central: bool = Field(True, description="Train on all clients' pictures in one place too.")


class Evaluation(Settings):
    """How scores are taken."""

    clients: bool = Field(True, description="Score every client's model after its local training of each round.")
    central_rounds: bool = Field(True, description="Score central training after every round, not only after the last.")
    sampler: Literal["unipc", "dpm++", "ddim", "euler"] = Field("unipc", description="How pictures are drawn.")
    sampler_steps: int = Field(10, ge=1, le=1000, description="Denoising steps per picture.")
    guidance: Annotated[float, Within(100)] = Field(
        3.0, ge=1.0, description="Classifier-free guidance scale; 1 is none."
    )
    batch_size: Annotated[int, Within(1024)] = Field(25, ge=1, description="Pictures drawn at once.")


class Gallery(Settings):
    """Fixed prompts and seeds whose pictures are kept for every round."""

    prompts: tuple[str, ...] = Field((), strict=False, description="Prompts; empty takes the first held-out captions.")
    count: int = Field(8, ge=1, le=64, description="How many held-out captions are taken where no prompts are given.")
    seed: Annotated[int, Within(MOST_SEED)] = Field(
        1, ge=0, description="Seed of the first picture; the next takes the next."
    )


class Network(Settings):
    """How rounds go over the network. A run on one machine reads `wire` alone."""

    quorum: int | None = Field(
        None, ge=1, description="Updates that are enough at the deadline; all that a round wants where not given."
    )
    over_selection: float = Field(
        1.0, ge=1.0, le=4.0, description="Ask this many times the clients that a round wants."
    )
    deadline_s: Annotated[float, Field(gt=0), Within(YEAR_S, LEAST_DEADLINE_S)] = Field(
        86_400.0, description="Seconds until a round closes with its quorum; without one it goes on."
    )
    grace_s: Annotated[float, Within(YEAR_S)] = Field(
        0.0, ge=0.0, description="Seconds after the deadline in which late updates still count."
    )
    wire: Literal["float32", "float16", "bfloat16"] = Field(
        "float32", description="Number format of the updates that clients send."
    )
    max_norm_ratio: Annotated[float, Field(gt=0), Within(1_000_000)] = Field(
        10.0,
        description="An update whose norm is more than this many times that of the round's start is refused.",
    )


class Plan(Settings):
    """A whole run: who trains what, how often, how it is joined, and what it is compared with."""

    name: str = Field("run", min_length=1, max_length=80, description="Name of the run, for people, in one line.")
    model: str = Field(
        STARTER,
        description="Base model: 'starter', a diffusers folder, a .safetensors file or a hub name; on a server also "
        "'registry:NAME', the newest version of a model that its federation has, and paths only in its folder of "
        "imports for who is no administrator of it.",
    )
    method: Method = Field(
        "fedex-lora", description="How updates are joined: fedavg (whole UNet), fedit or fedex-lora (adapters)."
    )
    weighting: Weighting = Field("samples", description="Weigh clients by their example counts, or all alike.")
    rounds: int = Field(3, ge=1, le=10_000, description="Rounds of local training and joining.")
    clients_per_round: int | None = Field(None, ge=1, description="Clients drawn for each round; all where not given.")
    max_residual_rank: Annotated[int, Within(65_536)] | None = Field(
        None, ge=1, description="FedEx-LoRA only: cut each round's residual to this rank; exact where not given."
    )
    max_change_norm: Annotated[float, Field(gt=0), Within(1_000_000)] | None = Field(
        None,
        description="Adapters only: an update that changes more in a round, by Euclidean norm, is scaled down to this.",
    )
    seeds: tuple[Annotated[int, Within(MOST_SEED)], ...] = Field(
        (1,), strict=False, min_length=1, description="One whole run per seed."
    )
    data: Data = Data()
    lora: Lora = Lora()
    training: Training = Training()
    baselines: Baselines = Baselines()
    evaluation: Evaluation = Evaluation()
    gallery: Gallery = Gallery()
    network: Network = Network()

    @field_validator("name")
    @classmethod
    def _can_be_shown(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError(f"name: {name!a} holds characters that a terminal cannot show in one line; leave them out")
        if not name.strip():
            raise ValueError("name: is blank; give the run a name")
        return name.strip()

    @model_validator(mode="after")
    def _parts_fit(self) -> Plan:
        if self.clients_per_round is not None and self.clients_per_round > len(self.data.clients):
            raise ValueError(f"clients_per_round: {self.clients_per_round} of only {len(self.data.clients)} clients")
        wanted = self.clients_per_round or len(self.data.clients)
        if self.network.quorum is not None and self.network.quorum > wanted:
            raise ValueError(f"network.quorum: {self.network.quorum} of only {wanted} clients of a round")
        if self.max_residual_rank is not None and self.method != "fedex-lora":
            raise ValueError(f"max_residual_rank: method '{self.method}' has no residual; take it out")
        if self.max_change_norm is not None and not self.trains_adapter:
            raise ValueError(
                f"max_change_norm: method '{self.method}' sends whole models, which are not clipped; take it out"
            )
        if len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ValueError("seeds: whole numbers from 0, each once")
        return self

    @property
    def least_updates(self) -> int:
        """Fewest updates that a round over the network is ever joined of, whoever declines or leaves.

        The quorum; without one two, as the joint model of one update would be that update itself.
        """
        return self.network.quorum or min(2, self.clients_per_round or len(self.data.clients))

    @property
    def trains_adapter(self) -> bool:
        """Whether clients train a LoRA adapter rather than the whole UNet."""
        return self.method != "fedavg"


def read_plan(path: Path, overrides: tuple[str, ...] = ()) -> Plan:
    """The plan in `path`, relative data folders made absolute, `KEY=VALUE` of `overrides` put in.

    A value is read as TOML, and as text where it is none: `training.epochs=2`, `model=starter`.

    Raises:
        PlanError: no such file, not TOML, an unknown key, a wrong type or a value out of range.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PlanError(f"{path}: no such plan; give the path of a .toml file such as plans/demo.toml") from None
    except IsADirectoryError:
        raise PlanError(f"{path}: is a folder; give the path of a .toml file inside it") from None
    except UnicodeDecodeError as error:
        raise PlanError(f"{path}: not UTF-8 text (byte {error.start}); save the plan as UTF-8") from None
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{path}: not valid TOML: {error}") from None
    for override in overrides:
        _put(content, override)
    try:
        plan = Plan.model_validate(content, context=GIVEN)
    except ValidationError as error:
        raise PlanError(f"{path}: {describe(error)}") from None
    root = plan.data.root
    if root is not None and not root.startswith(SHIPPED) and not Path(root).is_absolute():
        data = plan.data.model_copy(update={"root": str((path.parent / root).resolve())})
        plan = plan.model_copy(update={"data": data})
    return plan


def _put(content: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise PlanError(f"--set {override}: write KEY=VALUE, for example --set training.epochs=2")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *tables, last = key.strip().split(".")
    for table in tables:
        content = content.setdefault(table, {})
        if not isinstance(content, dict):
            raise PlanError(f"--set {override}: '{table}' is a value, not a table")
    content[last] = value


_WORDS = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "model_type": "must be a table",
    "finite_number": "must be a finite number",
    "too_short": "must hold at least {min_length}",
}
"""pydantic's most common faults in the words of a plan file."""


def describe(error: ValidationError) -> str:
    """One line for all faults that pydantic found: key, what is wrong, what was given."""
    found = error.errors()
    faults = []
    for fault in found:
        where = fault["loc"]
        inside = any(other["loc"][: len(where)] == where != other["loc"] for other in found)
        if fault["type"] == "too_short" and inside:
            continue  # pydantic counts only the items that passed; those that did not are faults of their own
        key = ".".join(str(part) for part in where)
        if fault["type"] == "extra_forbidden":
            faults.append(f"unknown key '{key}'; take it out or mend its spelling")
        elif fault["type"] == "value_error":
            faults.append(str(fault["ctx"]["error"]))
        else:
            said = f"{fault['msg'][0].lower()}{fault['msg'][1:]}"
            words = _WORDS[fault["type"]].format(**fault.get("ctx", {})) if fault["type"] in _WORDS else said
            faults.append(f"{key}: {words}, not {fault['input']!r}")
    return "; ".join(faults)
