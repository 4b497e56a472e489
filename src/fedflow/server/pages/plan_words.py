"""A run's plan as a federation's pages show it: the settings that a run over the network uses, in its members' words.

The plan describes its settings for who writes a plan file; what reads otherwise in a federation is said here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from flask_babel import LazyString, gettext, lazy_gettext

from fedflow.plan import REGISTRY, STARTER, Plan
from fedflow.web import amounts, present
from fedflow.web.forms import FormField, FormGroup, Kind, describe

NOT_USED = frozenset(
    {"data.root", "seeds", "baselines.alone", "baselines.central", "evaluation.central_rounds"},
)
"""Settings of a simulation: a federation's pictures lie with its members, and it has one seed and no baselines."""

MEMBERS = "data.clients"
"""Whom the pages show otherwise than the rest of the plan."""

OF_ADAPTERS = ("lora.rank", "lora.alpha", "lora.text_encoder", "max_residual_rank", "max_change_norm")
OF_RESIDUALS = "max_residual_rank"

LABELS: Mapping[str, LazyString] = {
    "model": lazy_gettext("Base model"),
    "clients_per_round": lazy_gettext("Members per round"),
    "max_residual_rank": lazy_gettext("Largest rank of the correction"),
    "max_change_norm": lazy_gettext("Largest change"),
    "data": lazy_gettext("Pictures"),
    "data.heldout": lazy_gettext("Held-out pictures"),
    "data.trigger": lazy_gettext("Trigger word"),
    "evaluation.clients": lazy_gettext("Measure each member's update"),
    "gallery.count": lazy_gettext("Prompts from captions"),
    "network": lazy_gettext("Rounds and updates"),
    "network.over_selection": lazy_gettext("Ask more members"),
    "network.wire": lazy_gettext("Number format"),
    "network.max_norm_ratio": lazy_gettext("Largest update"),
}
"""Labels of settings and of their groups, where these are called otherwise."""

HELP: Mapping[str, LazyString] = {
    "model": lazy_gettext("What the training starts from."),
    "method": lazy_gettext(
        "How the members' updates become one model. FedEx-LoRA joins adapters without loss, FedIT with smaller "
        "downloads; FedAvg trains the whole UNet, with the largest updates."
    ),
    "weighting": lazy_gettext("Whether a member with more pictures counts more."),
    "rounds": lazy_gettext("How often the members train and their updates are joined."),
    "clients_per_round": lazy_gettext("Members picked for each round; all if empty."),
    "max_residual_rank": lazy_gettext(
        "FedEx-LoRA only: a lower rank makes downloads smaller and the result less exact; exact if empty."
    ),
    "max_change_norm": lazy_gettext(
        "Adapters only: an update that changes more than this in a round is scaled down to it."
    ),
    "data": lazy_gettext("What goes before captions, and what models are measured against."),
    "data.heldout": lazy_gettext("Folder of pictures on the server that models are measured against."),
    "data.trigger": lazy_gettext(
        "Added in front of every caption that lacks it; prompts use it later to call up the adapter."
    ),
    "lora.rank": lazy_gettext("Size of the adapter: a higher rank can learn more, and makes updates larger."),
    "lora.alpha": lazy_gettext("How strongly the adapter acts, relative to its rank; usually equal to the rank."),
    "training": lazy_gettext("What each member's machine does in a round."),
    "training.epochs": lazy_gettext("How often each member's machine goes through its pictures in a round."),
    "training.learning_rate": lazy_gettext("The largest step that training takes."),
    "training.schedule": lazy_gettext("How the learning rate changes over a member's steps in one round."),
    "training.min_snr_gamma": lazy_gettext(
        "How much more pictures with little noise may count than those with much (Min-SNR); usually 5."
    ),
    "training.weight_floor": lazy_gettext("The least that pure noise counts, so that it is learnt too."),
    "training.flip": lazy_gettext("Train with every picture's mirror image too."),
    "evaluation": lazy_gettext("How the server draws pictures and measures models."),
    "evaluation.clients": lazy_gettext(
        "Also draw with each member's update alone, and measure it; everybody here sees those pictures."
    ),
    "network": lazy_gettext("When a round closes, and what an update may be."),
    "network.over_selection": lazy_gettext(
        "Ask this many times as many members as a round needs, as some may not answer."
    ),
    "network.deadline_s": lazy_gettext(
        "A round closes after this time if it has its quorum; if not, it waits as long again."
    ),
    "network.grace_s": lazy_gettext("How long after the deadline late updates still count."),
    "network.wire": lazy_gettext("How numbers are sent; float16 and bfloat16 make updates half as large."),
    "network.max_norm_ratio": lazy_gettext(
        "An update is refused if its norm is more than this many times that of what the round started with."
    ),
}
"""Help of settings and of their groups, where the plan's is for a file or for a simulation."""

CHOICES: Mapping[str, Mapping[str, LazyString]] = {
    "method": {
        "fedavg": lazy_gettext("FedAvg: the whole UNet"),
        "fedit": lazy_gettext("FedIT: adapters"),
        "fedex-lora": lazy_gettext("FedEx-LoRA: adapters, joined exactly"),
    },
    "weighting": {
        "samples": lazy_gettext("each member by its number of pictures"),
        "uniform": lazy_gettext("all members equally"),
    },
    "training.schedule": {
        "constant": lazy_gettext("stays the same (constant)"),
        "cosine": lazy_gettext("falls to zero, slowly at both ends (cosine)"),
    },
    "evaluation.sampler": {
        "unipc": lazy_gettext("fast, good with few steps (UniPC)"),
        "dpm++": lazy_gettext("fast, with fine detail (DPM++)"),
        "ddim": lazy_gettext("plain, for many steps (DDIM)"),
        "euler": lazy_gettext("simple and smooth (Euler)"),
    },
    "network.wire": {
        "float32": lazy_gettext("as it is, 4 bytes a number (float32)"),
        "float16": lazy_gettext("half as large, finer (float16)"),
        "bfloat16": lazy_gettext("half as large, for a wider range (bfloat16)"),
    },
}

NOT_GIVEN: Mapping[str, LazyString] = {
    "clients_per_round": lazy_gettext("all"),
    "network.quorum": lazy_gettext("all that the round needs"),
    "max_residual_rank": lazy_gettext("exact"),
    "max_change_norm": lazy_gettext("no limit"),
    "gallery.prompts": lazy_gettext("the first held-out captions"),
}
"""What it means that a setting has no value."""

FAULTS: Mapping[str, LazyString] = {
    "{count} of only {most} clients": lazy_gettext("%(count)s is more than the number of members, %(most)s."),
    "{count} of only {most} clients of a round": lazy_gettext(
        "%(count)s is more than the number of members of a round, %(most)s."
    ),
    "method '{method}' has no residual; take it out": lazy_gettext(
        "The method %(method)s has no correction to cut. Leave this empty."
    ),
    "method '{method}' sends whole models, which are not clipped; take it out": lazy_gettext(
        "The method %(method)s sends whole models, which are not scaled down. Leave this empty."
    ),
    "'{name}' is no name of a folder inside the root; take out slashes and leading dots": lazy_gettext(
        "“%(name)s” cannot be a folder's name. Leave out slashes and leading dots."
    ),
    "'{name}' is a client's folder; held-out pictures train nobody": lazy_gettext(
        "“%(name)s” is the name of a member. Held-out pictures are never trained on."
    ),
    "{name} holds characters that a terminal cannot show in one line; leave them out": lazy_gettext(
        "The name has characters that cannot be shown on one line. Leave them out."
    ),
}
"""What the plan says of settings that do not go together, and the same in words for the form."""

DEADLINE = "network.deadline_s"
HOURS = (DEADLINE, "network.grace_s")
"""Times that a form asks for in hours; the plan counts them in seconds."""


def described(short: Iterable[str], left_out: Iterable[str] = ()) -> tuple[FormGroup, ...]:
    """The form of a plan, but for what a federation does not use and `left_out`; `short` are the fields in sight."""
    return _described(tuple(short), frozenset(left_out), present.language())


@lru_cache
def _described(short: tuple[str, ...], left_out: frozenset[str], _language: str) -> tuple[FormGroup, ...]:
    groups = []
    for group in describe(Plan, short):
        near = tuple(_in_words(each) for each in group.short if _is_shown(each.name, left_out))
        folded = tuple(_in_words(each) for each in group.folded if _is_shown(each.name, left_out))
        if near or folded:
            label = str(LABELS.get(group.name, group.label))
            told = str(HELP.get(group.name, group.help))
            groups.append(replace(group, label=label, help=told, short=near, folded=folded))
    return tuple(groups)


def facts(plan: Plan) -> list[tuple[str, list[tuple[str, str]]]]:
    """The settings of a frozen plan that its run uses, by group: label and value, as a person says them."""
    return _facts(plan.model_dump_json(), present.language())


@lru_cache
def _facts(frozen: str, _language: str) -> list[tuple[str, list[tuple[str, str]]]]:
    plan = Plan.model_validate_json(frozen)
    values = plan.model_dump()
    left_out = {MEMBERS}
    if not plan.trains_adapter:
        left_out.update(OF_ADAPTERS)
    elif plan.method != "fedex-lora":
        left_out.add(OF_RESIDUALS)
    found = [
        (group.label, [(field.label, shown(field, _inside(values, field.name))) for field in group.fields])
        for group in described((), left_out)
    ]
    found[0][1].append((str(gettext("Seed")), str(plan.seeds[0])))
    return found


def shown(field: FormField, value: Any) -> str:
    """A setting's value as a person says it."""
    if value is None or value == ():
        return str(NOT_GIVEN.get(field.name, gettext("none")))
    if field.name == "model":
        text = model(value)
    elif field.name in HOURS:
        text = amounts.duration(value)
    elif field.kind is Kind.SWITCH:
        text = gettext("yes") if value else gettext("no")
    elif field.kind in (Kind.INTEGER, Kind.NUMBER):
        text = amounts.setting(value)
    elif field.kind is Kind.LINES:
        text = "; ".join(value)
    else:
        text = dict(field.choices).get(value, value)
    return str(text)


def model(name: str) -> str:
    """A base model as a plan names it, in words."""
    if name == STARTER:
        return str(gettext("Starter, which comes with FedFlow"))
    if not name.startswith(REGISTRY):
        return name
    rest = name.removeprefix(REGISTRY)
    called, _, number = rest.rpartition("/")
    if called and number.isdecimal():
        return str(gettext("%(model)s, version %(number)s", model=called, number=number))
    return rest


def choice(setting: str, value: str) -> str:
    """A setting's value that is one of a few, in words; as it is where nobody wrote any."""
    return str(CHOICES.get(setting, {}).get(value, value))


def fault(sentence: str) -> str:
    """A sentence beside a field of the form, where it is one of the plan's own; else as it is."""
    for known, words in FAULTS.items():
        pattern = re.escape(known).replace(r"\{", "(?P<").replace(r"\}", ">.+?)")
        found = re.fullmatch(f"(?i:{pattern})\\.?", sentence, re.DOTALL)
        if found is not None:
            return str(words) % found.groupdict() if found.groupdict() else str(words)
    return sentence


def _in_words(field: FormField) -> FormField:
    words = CHOICES.get(field.name, {})
    return replace(
        field,
        label=str(LABELS.get(field.name, field.label)),
        help=str(HELP.get(field.name, field.help)),
        choices=tuple((value, str(words.get(value, word))) for value, word in field.choices),
    )


def _is_shown(name: str, left_out: Collection[str]) -> bool:
    return name not in NOT_USED and name not in left_out


def _inside(values: Mapping[str, Any], name: str) -> Any:
    found: Any = values
    for key in name.split("."):
        found = found[key]
    return found
