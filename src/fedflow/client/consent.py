"""A run in plain words, the owner's answer to it, and a note of what was agreed to."""

from __future__ import annotations

import math
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from fedflow import __version__
from fedflow.client.answers import printable
from fedflow.client.policy import BYTES_PER_MB, Policy, refusal
from fedflow.errors import MistakeError, RunError
from fedflow.federation.protocol import RunFacts
from fedflow.plan import GIVEN, Plan, describe
from fedflow.storage import read_json, write_json

SHAPES_NAMED = 4
DECLINED = "the owner of this machine declined"
BY_POLICY = "the owner's policy does not allow it"
"""All that a coordinator learns of a policy: its limits, and what is measured against them, are the owner's."""

NOT_KNOWN = f"FedFlow {__version__} does not know its plan; update it, and ask the coordinator to ask again"
OTHER_VERSION = f"FedFlow {__version__} does not know this plan; it is updated there, then it can be asked again"


@dataclass(frozen=True)
class Answer:
    """The owner's answer to a run. Where it is no, `reason` is for the owner and `told` for the coordinator."""

    accept: bool
    reason: str = ""
    told: str = ""


def plan_of(facts: RunFacts) -> Plan:
    """The run's plan. Raises MistakeError where this version of FedFlow does not know it."""
    try:
        return Plan.model_validate(facts.plan, context=GIVEN)  # a server may have taken what makes no sense
    except ValidationError as error:
        faults = printable(describe(error))
        raise MistakeError(f"run '{printable(facts.name)}': its plan is of another version ({faults})") from None


def in_plain_words(facts: RunFacts, plan: Plan, num_examples: int, data: Path) -> str:
    """What is trained on what, how often, what leaves this machine and what never does."""
    training = plan.training
    what = f"LoRA adapters of rank {plan.lora.rank}" if plan.trains_adapter else "the whole UNet"
    text_encoder = " on UNet and text encoder" if plan.trains_adapter and plan.lora.text_encoder else ""
    known_as = f" (content {facts.base_hash[:12]})" if facts.base_hash else ""
    flipped = ", each mirrored too" if training.flip else ""
    lines = [
        f"The run '{facts.name}' asks for your consent.",
        "",
        "What is trained, on this machine",
        f"  {what}{text_encoder}, on the base model '{plan.model}'{known_as}",
        f"  on your {_counted(num_examples, 'picture')} in {data} and their captions{flipped}",
        f"  in {_counted(plan.rounds, 'round')} with {_counted(training.epochs, 'pass', 'passes')} each, "
        f"joined by {plan.method}; about {training.steps(num_examples):,} steps a round here",
        f"  together with: {', '.join(facts.members)}",
        "",
        "What leaves this machine",
        "  now: your answer, and how many pictures you have (when it joined, this device told its name and its",
        "    version of FedFlow)",
        f"  in every round: the trained weights as {plan.network.wire}, about {size_text(facts.upload_bytes)}",
        f"    {_tensors(facts)}",
        f"  with them: the number of pictures ({num_examples}), the mean loss at the start and at the end,",
        "    steps and seconds of the training",
        "  meanwhile: whether this machine trains, or cannot: for its hours, its memory, your policy, pictures that",
        "    cannot be used, a training that came to nothing",
        "  all members see how many pictures each of them has trained on",
        "",
        "What never leaves",
        "  pictures, captions, names of files and folders, encoded pictures, and the device's private key",
        "",
        "Trained weights carry traces of what they were trained on. The server sees yours, all members see what they",
        "are joined to. No noise is added that would hide a single picture.",
    ]
    if plan.evaluation.clients:
        lines += [
            "Where the server has held-out pictures, it draws with your trained weights alone too, and all members see",
            "what it draws of the run's prompts.",
        ]
    return "\n".join(line if line.isprintable() else ascii(line) for line in lines)


def decide(facts: RunFacts, num_examples: int, data: Path, policy: Policy, *, accept_unasked: bool) -> Answer:
    """The owner's answer: no where the policy says so, else yes where asking was waived, else what a person says.

    No, too, where this version of FedFlow does not know the plan: other runs of the federation go on.

    Prints the run in plain words. Raises MistakeError where a person would have to be asked and there is no terminal,
    KeyboardInterrupt where the person ends the question with Ctrl-C or Ctrl-D.
    """
    try:
        plan = plan_of(facts)
    except MistakeError:
        return Answer(False, NOT_KNOWN, OTHER_VERSION)
    reason = refusal(policy, facts, plan, num_examples)
    if reason is not None:
        return Answer(False, reason, BY_POLICY)
    print(in_plain_words(facts, plan, num_examples, data), flush=True)
    if accept_unasked:
        return Answer(True)
    if not sys.stdin.isatty():
        raise MistakeError(
            f"run '{printable(facts.name)}' asks for consent and nobody is at a terminal; "
            "run the same command in one, or with --accept and limits (--max-rounds, --policy)"
        )
    return Answer(True) if _says_yes(facts) else Answer(False, DECLINED, DECLINED)


def remember(path: Path, facts: RunFacts) -> None:
    """Note in `path` what was agreed to."""
    write_json(path, _agreed(facts))


def has_agreed(path: Path, facts: RunFacts) -> bool:
    """Whether the owner has agreed to this run before.

    Raises RunError where the server now tells another run under the same name than the owner agreed to.
    """
    if not path.is_file():
        return False
    if read_json(path) != _agreed(facts):
        raise RunError(
            f"run '{printable(facts.name)}': its plan, base model or tensors are not those you agreed to ({path}); "
            "nothing was sent. Ask the coordinator; remove that file to be asked again"
        )
    return True


def size_text(size_bytes: int) -> str:
    """A size for people."""
    if size_bytes < BYTES_PER_MB:
        return f"{-(-size_bytes // 1000)} kB"
    return f"{size_bytes / BYTES_PER_MB:.1f} MB"


def _agreed(facts: RunFacts) -> dict[str, object]:
    return facts.model_dump(mode="json", include={"plan", "base_hash", "tensors"})


def _says_yes(facts: RunFacts) -> bool:
    while True:
        try:
            answer = input("Take part? [y/n, l lists every tensor] ").strip().lower()
        except EOFError:  # Ctrl-D, or the terminal is gone: nobody has answered
            raise KeyboardInterrupt from None
        if answer in {"y", "yes", "n", "no"}:
            return answer.startswith("y")
        if answer in {"l", "list"}:
            for name, shape in facts.tensors.items():
                print(f"  {printable(name)}  {'x'.join(map(str, shape)) or '1'}")


def _tensors(facts: RunFacts) -> str:
    """Names are told by their count and what they have in common, shapes by the commonest."""
    shapes = Counter("x".join(map(str, shape)) or "1" for shape in facts.tensors.values())
    named = ", ".join(f"{count} of {shape}" for shape, count in shapes.most_common(SHAPES_NAMED))
    rest = sum(shapes.values()) - sum(count for _, count in shapes.most_common(SHAPES_NAMED))
    numbers = sum(math.prod(shape) for shape in facts.tensors.values())
    more = f" and {rest} of other shapes" if rest else ""
    parts = ", ".join(sorted({name.partition(".")[0] for name in facts.tensors}))
    return f"{_counted(len(facts.tensors), 'tensor')} of {parts} with {numbers:,} numbers: {named}{more}"


def _counted(count: int, one: str, several: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else several or one + 's'}"
