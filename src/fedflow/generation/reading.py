"""Settings out of a PNG's text chunks: `parameters` as AUTOMATIC1111's web UI and we write it, `prompt` as ComfyUI.

The file comes from anywhere: its pixels are not decoded, its texts are bounded, and what is no number is left out.
"""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from fedflow.errors import MistakeError

MOST_CHARACTERS = 1_000_000
MOST_NODES = 2000
DEEPEST = 64
MOST_LOST = 20
LONGEST_NAME = 60

SAMPLER_NAMES = {
    "unipc": "unipc", "uni_pc": "unipc", "uni_pc_bh2": "unipc",
    "dpm++ 2m": "dpm++", "dpmpp_2m": "dpm++",
    "ddim": "ddim",
    "euler": "euler",
    "euler a": "euler-a", "euler_ancestral": "euler-a",
}  # fmt: skip
"""Names of other tools, in small letters, and the key of fedflow.models.SAMPLERS that draws alike."""

_LORA = re.compile(r"<lora:([^:<>]{1,200}):([+-]?[\d.]+)(?::[^<>]*)?>")
_PAIR = re.compile(r'\s*([\w /+-]{1,60}):\s*("(?:\\.|[^"\\])*"|\{[^{}]*\}|\[[^\[\]]*\]|[^,]*)(?:,|$)')
_SCHEDULE = re.compile(r" (Karras|Exponential)$")
_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")

TAKEN = frozenset({"Steps", "Sampler", "CFG scale", "Seed", "Size", "Model", "Model hash"})
MEANS_NOTHING = frozenset(
    {"Version", "Hashes", "VAE hash", "Batch size", "Batch pos", "Created Date", "Civitai resources"}
)
"""Settings of A1111 that a picture does not depend on, or that say once more what others say."""

USUAL = {"Clip skip": "1", "ENSD": "0", "Schedule type": "Automatic"}
"""Values that ask for nothing else than what is done anyway."""

PASSING = frozenset({"SaveImage", "PreviewImage", "VAEDecode", "VAEDecodeTiled", "Reroute", "Note", "MarkdownNote"})
"""Nodes of ComfyUI that change nothing in a picture."""

USUAL_SCHEDULES = ("normal", "simple", "")


@dataclass
class Found:
    """What a file told. None and empty: it did not say. `model_hash` begins the model's hash as the tool wrote it.

    `adapters` are names and weights. `sampler` is a key of SAMPLERS; `other_sampler` a name that has none. `lost` names
    what the picture depends on and has no place here: settings of A1111 and nodes of ComfyUI, by their own names.
    """

    tool: str
    prompt: str = ""
    negative: str = ""
    steps: int | None = None
    guidance: float | None = None
    seed: int | None = None
    width: int | None = None
    height: int | None = None
    sampler: str = ""
    other_sampler: str = ""
    model: str = ""
    model_hash: str = ""
    adapters: list[tuple[str, float]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def read_settings(content: bytes) -> Found:
    """The settings in a PNG. Raises MistakeError, one line, for what is no PNG or tells no settings."""
    texts = _texts(content)
    if "parameters" in texts:
        return _of_parameters(texts["parameters"])
    if "prompt" in texts:
        return _of_workflow(texts["prompt"])
    raise MistakeError("the picture carries no settings; many web sites remove them from what they show")


def _texts(content: bytes) -> dict[str, str]:
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            texts = {key: value for key, value in image.info.items() if isinstance(key, str) and isinstance(value, str)}
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what Pillow raises for damaged files
        raise MistakeError("the file is no PNG picture, or is damaged; choose a PNG") from None
    if any(len(text) > MOST_CHARACTERS for text in texts.values()):
        raise MistakeError("the picture's settings are longer than a million characters; they are not read")
    return texts


def _of_parameters(text: str) -> Found:
    """Prompt, `Negative prompt: ` and a last line of `Key: value` pairs."""
    lines = text.strip().split("\n")
    last = lines.pop() if lines[-1].lstrip().startswith("Steps: ") else ""
    prompt, _, negative = "\n".join(lines).partition("Negative prompt:")
    pairs = {key.strip(): value.strip().strip('"') for key, value in _PAIR.findall(last)}
    found = Found("AUTOMATIC1111")
    found.prompt, found.adapters = _without_lora(prompt)
    found.negative = " ".join(negative.split())
    found.steps, found.seed = _whole(pairs.get("Steps")), _whole(pairs.get("Seed"))
    found.guidance = _number(pairs.get("CFG scale"))
    if size := _SIZE.fullmatch(pairs.get("Size", "")):
        found.width, found.height = int(size[1]), int(size[2])
    found.model, found.model_hash = pairs.get("Model", ""), pairs.get("Model hash", "")
    sampler = pairs.get("Sampler", "")
    _name_sampler(found, _SCHEDULE.sub("", sampler))
    schedule = _SCHEDULE.search(sampler)
    keys = [key for key, value in pairs.items() if key not in TAKEN | MEANS_NOTHING and value != USUAL.get(key)]
    _lose(found, [schedule[1] if schedule else "", *(_named(key, pairs[key]) for key in keys)])
    return found


def _named(key: str, value: str) -> str:
    """A setting of A1111 as people call it."""
    if key.startswith("Hires"):
        return "Hires fix"
    return value if key == "Schedule type" else key


def _of_workflow(text: str) -> Found:
    """ComfyUI's graph: nodes by number, each with its `class_type` and `inputs`; a link is [node, output]."""
    try:
        nodes = json.loads(text)
    except (ValueError, RecursionError):
        nodes = None
    if not isinstance(nodes, dict) or len(nodes) > MOST_NODES:
        raise MistakeError("the picture's workflow cannot be read; it is no graph of nodes")
    sampler = next((number for number, node in nodes.items() if "KSampler" in _class_of(node)), None)
    if sampler is None:
        raise MistakeError("the picture's workflow has no KSampler node that tells steps and seed")
    graph = _Graph(nodes, {sampler})
    inputs = _inputs(nodes[sampler])
    found = Found("ComfyUI")
    found.prompt = " ".join(graph.text(inputs.get("positive")).split())
    found.negative = " ".join(graph.text(inputs.get("negative")).split())
    found.steps, found.guidance = _whole(graph.value(inputs.get("steps"))), _number(graph.value(inputs.get("cfg")))
    found.seed = _whole(graph.value(inputs.get("seed", inputs.get("noise_seed"))))
    _name_sampler(found, str(inputs.get("sampler_name", "")))
    latents = inputs.get("latent_image")
    empty = graph.inputs(latents)
    found.width, found.height = _whole(graph.value(empty.get("width"))), _whole(graph.value(empty.get("height")))
    if found.width and found.height:
        graph.take(latents)
    found.model, found.adapters = graph.model(inputs.get("model"))
    pictures = _whole(graph.value(empty.get("batch_size"))) or 1
    schedule, strength = str(inputs.get("scheduler", "")), _number(inputs.get("denoise"))
    _lose(
        found,
        [
            schedule if schedule not in USUAL_SCHEDULES else "",
            "denoise" if strength is not None and strength < 1 else "",
            "strength_clip" if graph.weighs_texts_otherwise else "",
            "batch_size" if pictures > 1 else "",
            *(_class_of(node) for number, node in nodes.items() if number not in graph.taken),
        ],
    )
    return found


@dataclass
class _Graph:
    """A workflow, and the numbers of the nodes that something was taken from.

    `weighs_texts_otherwise` says that an adapter acts on the text encoder by another weight than on the UNet.
    """

    nodes: dict[str, Any]
    taken: set[str]
    weighs_texts_otherwise: bool = False

    def inputs(self, link: Any) -> dict[str, Any]:
        """Those of the node that a link leads to."""
        return _inputs(self.nodes.get(_number_of(link)))

    def take(self, link: Any) -> None:
        """Note that something was taken from the node that a link leads to."""
        self.taken.add(_number_of(link))

    def text(self, link: Any) -> str:
        """The text that a link to a conditioning leads to, through nodes that pass it on."""
        for _ in range(DEEPEST):
            inputs = self.inputs(link)
            keys = [key for key in ("text", "string", "value", "conditioning", "conditioning_1") if key in inputs]
            if any(key in ("text", "string", "value") for key in keys):
                self.take(link)
            for key in ("text", "string", "value"):
                if isinstance(inputs.get(key), str):
                    return str(inputs[key])
            link = inputs[keys[0]] if keys else None
        return ""

    def value(self, value: Any) -> Any:
        """A number that stands in the node itself or in one of its own that it is linked to."""
        inputs = self.inputs(value)
        for key in ("seed", "noise_seed", "value", "int", "float"):
            if key in inputs:
                self.take(value)
                return inputs[key]
        return value

    def model(self, link: Any) -> tuple[str, list[tuple[str, float]]]:
        """The checkpoint that a link leads to, and the adapters on the way, names and weights."""
        adapters: list[tuple[str, float]] = []
        for _ in range(DEEPEST):
            inputs = self.inputs(link)
            if "ckpt_name" in inputs:
                self.take(link)
                return str(inputs["ckpt_name"])[:200], adapters
            weight = _number(inputs.get("strength_model"))
            if "lora_name" in inputs and weight is not None:
                self.take(link)
                adapters.insert(0, (str(inputs["lora_name"])[:200], weight))
                self.weighs_texts_otherwise |= _number(inputs.get("strength_clip", weight)) != weight
            link = inputs.get("model")
        return "", adapters


def _without_lora(prompt: str) -> tuple[str, list[tuple[str, float]]]:
    """The prompt without its `<lora:name:weight>`, and those."""
    named = [(name, _number(weight)) for name, weight in _LORA.findall(prompt)]
    adapters = [(name, weight) for name, weight in named if weight is not None]
    return " ".join(_LORA.sub("", prompt).split()), adapters


def _name_sampler(found: Found, name: str) -> None:
    found.sampler = SAMPLER_NAMES.get(name.strip().lower(), "")
    found.other_sampler = "" if found.sampler else name.strip()[:80]


def _lose(found: Found, names: list[str]) -> None:
    """Note once each what has no place here."""
    found.lost = list(dict.fromkeys(name[:LONGEST_NAME] for name in names if name and name not in PASSING))[:MOST_LOST]


def _number_of(link: Any) -> str:
    """The number of the node that a link leads to; empty for what is no link."""
    return link[0] if isinstance(link, list) and link and isinstance(link[0], str) else ""


def _inputs(node: Any) -> dict[str, Any]:
    inputs = node.get("inputs") if isinstance(node, dict) else None
    return inputs if isinstance(inputs, dict) else {}


def _class_of(node: Any) -> str:
    return str(node.get("class_type", "")) if isinstance(node, dict) else ""


def _whole(value: Any) -> int | None:
    number = _number(value)
    if number is None or not number.is_integer():
        return None
    return int(value) if isinstance(value, int) or str(value).isdigit() else int(number)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
