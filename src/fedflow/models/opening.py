"""Opening a base model: the starter, a diffusers folder, a single checkpoint file, or a name on the model hub."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import huggingface_hub
import transformers
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.utils._paths import filter_repo_objects
from transformers import CLIPTextModel, CLIPTokenizer

from fedflow.errors import HubAway, ModelError
from fedflow.models.base_model import BaseModel, content_hash_of
from fedflow.models.checkpoints import has_shapes_of, settings_digest, text_width
from fedflow.models.families import FAMILY_OF_WIDTH, SD1
from fedflow.models.pickles import refuse_pickle
from fedflow.plan import HUB, HUB_NAME, STARTER
from fedflow.shipped import starter_folder
from fedflow.tensors.making import MAKING

PIPELINES = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline")
HUB_TIMEOUT_S = 5.0
HUB_FILES = [
    "model_index.json",
    *(f"{part}/*" for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler")),
]
HUB_LEFT_OUT = ["*.bin", "*.ckpt", "*.msgpack", "*.onnx*", "*.pb", "*.h5", "*.fp16.*", "*.non_ema.*"]
HUB_ADAPTER = "pytorch_lora_weights.safetensors"
SINGLE_FILE_CONFIG = "stable-diffusion-v1-5/stable-diffusion-v1-5"


def open_model(name_or_path: str, alike: Iterable[Path] = ()) -> BaseModel:
    """Open a base model in float32 on the CPU, frozen.

    `name_or_path` is 'starter' (the model that ships with FedFlow), a folder in the diffusers layout, one
    `.safetensors` checkpoint file, or a name on the Hugging Face hub, looked up in the local cache first; 'hub:NAME' is
    that alone, whatever folders there are. `alike` are diffusers folders that one file, which holds weights alone, may
    take its settings from where its tensors have their shapes and all such have the same settings; so is the starter.
    Raises ModelError, one line, for what is none of these, is damaged or cannot be reached.
    """
    with quiet():
        if name_or_path == STARTER:
            folder = model_folder(STARTER)
            if folder is None or not folder.is_dir():
                raise ModelError(f"the starter model is not in this installation ({folder}); install fedflow again")
            return _open_folder(folder, STARTER)
        if name_or_path.startswith(HUB):
            name = name_or_path.removeprefix(HUB)
            return _open_folder(hub_folder(name), name)
        path = Path(name_or_path).expanduser()
        refuse_pickle(path)
        if path.is_dir():
            return _open_folder(path, name_or_path)
        if path.is_file():
            return _open_single_file(path, alike)
        if path.suffix == ".safetensors" or not HUB_NAME.fullmatch(name_or_path):
            raise ModelError(
                f"{name_or_path}: no such folder or file, and no hub name (OWNER/NAME); "
                f"give '{STARTER}', a diffusers folder or a .safetensors file"
            )
        return _open_folder(hub_folder(name_or_path), name_or_path)


def model_folder(name_or_path: str) -> Path | None:
    """The folder in the diffusers layout that `open_model` reads, None for a model that lies elsewhere."""
    if name_or_path == STARTER:
        return starter_folder()
    path = Path(name_or_path).expanduser()
    return path if path.is_dir() else None


def _open_folder(folder: Path, name: str) -> BaseModel:
    """A model in the diffusers layout."""
    index = _read_index(folder)
    kind = str(index.get("_class_name", ""))
    if kind not in PIPELINES:
        raise ModelError(
            f"{folder}: is a {kind or 'folder of unknown kind'}; FedFlow opens the Stable Diffusion 1 and 2 family "
            f"(StableDiffusionPipeline)"
        )
    scheduler_class = getattr(diffusers, str(index["scheduler"][1]), None)
    if scheduler_class is None:
        raise ModelError(f"{folder}: scheduler '{index['scheduler'][1]}' is unknown to this diffusers; upgrade it")

    def load_part(part: str) -> Any:
        with quiet(), _readable(folder / part):
            if part == "text_encoder":
                return CLIPTextModel.from_pretrained(folder / part, dtype="float32", **_LOCAL)
            kind = UNet2DConditionModel if part == "unet" else AutoencoderKL
            return kind.from_pretrained(folder / part, **_LOCAL)

    with _readable(folder):
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        scheduler = scheduler_class.from_pretrained(folder / "scheduler", local_files_only=True)
    return _hashed(BaseModel(name, tokenizer, scheduler, load_part))


def _open_single_file(path: Path, alike: Iterable[Path]) -> BaseModel:
    """One checkpoint file, as the Stable Diffusion 1 and 2 tools exchange them.

    It holds weights alone; configs and tokenizer come from a diffusers folder beside the file with the file's stem as
    its name (its own weights are not read), from the hub's cache or the hub, or from folders with weights of the same
    shapes where these agree.
    """
    if path.suffix.lower() != ".safetensors":
        raise ModelError(f"{path}: is no .safetensors file; give one, or a diffusers folder")
    beside = path.with_suffix("")
    has_beside = (beside / "model_index.json").is_file()
    config = str(beside if has_beside else _config_folder(path, beside, _alike(path, (*alike, starter_folder()))))

    def load_pipeline() -> Any:
        with MAKING, quiet(), _readable(path):
            return StableDiffusionPipeline.from_single_file(
                str(path), config=config, local_files_only=True, safety_checker=None, feature_extractor=None
            )

    pipeline = load_pipeline()
    parts = {"unet": pipeline.unet, "vae": pipeline.vae, "text_encoder": pipeline.text_encoder}

    def load_part(part: str) -> Any:
        return parts.pop(part) if part in parts else getattr(load_pipeline(), part)

    return _hashed(BaseModel(str(path), pipeline.tokenizer, pipeline.scheduler, load_part))


def _alike(path: Path, folders: Iterable[Path]) -> Path | None:
    """The first of the folders with weights of the file's shapes; None where they differ in noise or vocabulary.

    The shapes do not tell what a model was trained to predict, nor the words of its texts.
    """
    found = [folder for folder in folders if has_shapes_of(path, folder)]
    return found[0] if found and len({settings_digest(folder) for folder in found}) == 1 else None


def _config_folder(path: Path, beside: Path, alike: Path | None) -> Path:
    """The hub's for Stable Diffusion 1 and what nothing here is like; where it is away, that of a model alike."""
    if alike is not None and FAMILY_OF_WIDTH.get(text_width(path)) != SD1:
        return alike
    try:
        return hub_folder(SINGLE_FILE_CONFIG, with_weights=False)
    except HubAway as error:
        if alike is not None:
            return alike
        raise HubAway(
            f"{path}: a single file holds no configs and no tokenizer, and {SINGLE_FILE_CONFIG} cannot be reached for "
            f"them; connect once, or put a diffusers folder of the same family at {beside}"
        ) from error


def _hashed(model: BaseModel) -> BaseModel:
    model.content_hash = content_hash_of(model)
    return model


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / "model_index.json"
    try:
        index = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(f"{folder}: has no model_index.json, so it is no diffusers folder; check the path") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({_one_line(error)}); fetch the model again") from error
    if not isinstance(index, dict) or not isinstance(index.get("scheduler", None), list):
        raise ModelError(f"{path}: names no scheduler; fetch the model again")
    return index


def hub_folder(name: str, with_weights: bool = True, most_bytes: int | None = None) -> Path:
    """A model's snapshot in the local hub cache, downloaded where it is not there yet.

    Raises ModelError, one line, also for more than `most_bytes`, which is known before anything comes.
    """
    left_out = HUB_LEFT_OUT if with_weights else [*HUB_LEFT_OUT, "*.safetensors"]

    def snapshot(local_files_only: bool) -> Path:
        return Path(
            huggingface_hub.snapshot_download(
                name,
                allow_patterns=HUB_FILES,
                ignore_patterns=left_out,
                local_files_only=local_files_only,
                etag_timeout=HUB_TIMEOUT_S,
            )
        )

    wanted = partial(filter_repo_objects, allow_patterns=HUB_FILES, ignore_patterns=left_out)
    return _from_hub(name, snapshot, lambda folder: _is_complete(folder, with_weights), wanted, most_bytes)


def hub_adapter(name: str, most_bytes: int | None = None) -> Path:
    """An adapter's file in the local hub cache, downloaded where it is not there yet. Raises as `hub_folder`."""

    def file(local_files_only: bool) -> Path:
        return Path(
            huggingface_hub.hf_hub_download(
                name, HUB_ADAPTER, local_files_only=local_files_only, etag_timeout=HUB_TIMEOUT_S
            )
        )

    return _from_hub(name, file, Path.is_file, partial(filter_repo_objects, allow_patterns=HUB_ADAPTER), most_bytes)


def hub_files(name: str, files: list[str]) -> Path:
    """The folder of the hub cache with these files of a repository, downloaded where one is not there yet.

    Raises ModelError, one line.
    """

    def snapshot(local_files_only: bool) -> Path:
        return Path(
            huggingface_hub.snapshot_download(
                name, allow_patterns=files, local_files_only=local_files_only, etag_timeout=HUB_TIMEOUT_S
            )
        )

    wanted = partial(filter_repo_objects, allow_patterns=files)
    return _from_hub(name, snapshot, lambda folder: all((folder / file).is_file() for file in files), wanted)


def _from_hub(
    name: str,
    fetch: Callable[[bool], Path],
    is_whole: Callable[[Path], bool],
    wanted: Callable[[Iterable[str]], Iterable[str]],
    most_bytes: int | None = None,
) -> Path:
    """What `fetch(local_files_only)` finds in the local cache, or else on the hub, of which `wanted` are the files."""
    try:
        found = fetch(True)
        if is_whole(found):
            return found
    except LocalEntryNotFoundError:
        pass
    if huggingface_hub.constants.is_offline_mode():
        raise HubAway(f"{name}: not in the hub cache, and HF_HUB_OFFLINE is set; unset it or use '{STARTER}'")
    try:
        # One short question first: the download itself retries for minutes where there is no network.
        told = huggingface_hub.HfApi().model_info(name, timeout=HUB_TIMEOUT_S, files_metadata=most_bytes is not None)
        sizes = {each.rfilename: each.size or 0 for each in told.siblings or ()}
        size_bytes = sum(sizes[file] for file in wanted(sizes))
        if most_bytes is not None and size_bytes > most_bytes:
            raise ModelError(f"{name}: has {size_bytes} bytes on the hub, {most_bytes} are allowed; take a smaller one")
        return fetch(False)
    except ModelError:
        raise
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"{name}: the hub knows no such model, or it is private; check the name or run 'hf auth login'"
        ) from error
    except HfHubHTTPError as error:
        raise HubAway(f"{name}: the hub refuses it ({_one_line(error)}); try later or use a local folder") from error
    except Exception as error:  # every client library has network errors of its own
        raise HubAway(
            f"{name}: not in the hub cache, and the hub cannot be reached ({type(error).__name__}); "
            f"connect, give a local folder, or use '{STARTER}'"
        ) from error


def _is_complete(folder: Path, with_weights: bool) -> bool:
    weights = ("unet", "vae", "text_encoder") if with_weights else ()
    has_weights = all(any((folder / part).glob("*.safetensors")) for part in weights)
    return has_weights and (folder / "model_index.json").is_file()


_LOCAL: dict[str, Any] = {"use_safetensors": True, "local_files_only": True}


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """One ModelError in the place of what the libraries raise over a file that is missing or damaged."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        way_out = "check the path or fetch the model again"
        raise ModelError(f"{path}: cannot be opened ({_one_line(error)}); {way_out}") from error


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:197]}..."


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' progress bars and hints off the terminal; errors still raise."""
    restore: list[Callable[[], None]] = []
    for library in (diffusers.utils.logging, transformers.utils.logging):
        level, bars = library.get_verbosity(), library.is_progress_bar_enabled()
        library.set_verbosity(logging.CRITICAL)
        library.disable_progress_bar()
        restore.append(lambda library=library, level=level: library.set_verbosity(level))  # type: ignore[misc]
        if bars:
            restore.append(library.enable_progress_bar)
    try:
        yield
    finally:
        for undo in restore:
            undo()
