"""What one worker process does for a run: train as some participant, draw with some model.

A workbench keeps the base model and the encoded pictures in memory from one job to the next. Every job's
outcome depends on the plan and the job alone, never on what the workbench did before, so any worker may do it.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from fedflow.datasets import Dataset, Picture, load_pixels, read_folder
from fedflow.errors import DatasetError, RunError
from fedflow.evaluation.choice import choose_extractor
from fedflow.evaluation.extractor import Extractor
from fedflow.evaluation.table import is_client
from fedflow.federation.jobs import DrawJob, Drawn, Real, Trained, TrainJob, derived_seed, gallery_prompts
from fedflow.federation.participant import bring_up_to_date, take_part
from fedflow.federation.places import RunFolder
from fedflow.federation.rounds import Assignment
from fedflow.generation import generate, parameters_text, save_png
from fedflow.lora import Adapter, Factors
from fedflow.models import (
    SAMPLERS,
    BaseModel,
    adapter_bytes,
    get_base_weights,
    merge,
    new_adapter,
    open_model,
    read_adapter,
    remove_lora,
    set_adapter,
    set_base_weights,
    set_weights,
)
from fedflow.plan import Plan
from fedflow.storage import BlobStore, read_json, write_atomic, write_json
from fedflow.tensors import load_tensors, to_bytes
from fedflow.training import (
    CaptionCache,
    LatentCache,
    Progress,
    cache_captions,
    cache_latents,
    recipe_of,
    train_lora,
    train_unet,
)

WIRE = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def settle_torch(threads: int) -> None:
    """Make this process compute the same bits as every other that works for a run with so many threads."""
    torch.set_num_threads(threads)
    tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system, which a killed process leaves behind
    torch.use_deterministic_algorithms(True, warn_only=True)


def initial_adapter(model: BaseModel, plan: Plan, seed: int) -> bytes:
    """The adapter that round 1 of a run with `seed` starts from, of zero effect, as its file."""
    lora = plan.lora
    generator = torch.Generator().manual_seed(derived_seed(seed, "initial adapter"))
    adapter = new_adapter(model, lora.rank, lora.alpha, lora.text_encoder, generator)
    return adapter_bytes(adapter, "diffusers", {})


class Workbench:
    """The base model, the data and the extractor of a run, opened when first needed."""

    def __init__(
        self,
        plan: Plan,
        out: Path,
        folders: Mapping[str, Path],
        extractor: str,
        inception: Path | None,
        *,
        base: str | None = None,
        blobs: BlobStore | None = None,
        takes_usable: bool = False,
    ) -> None:
        """`folders` says where the pictures of each name are that the plan's data speaks of, as far as they are here.

        With `takes_usable` what cannot be used of them is passed over; else it is refused.

        `base` opens in the place of the plan's model: a copy of it at another place. `blobs` takes the place of those
        in `out`.
        """
        self.plan = plan
        self.folder = RunFolder(out, blobs)
        self._folders = folders
        self._base = base or plan.model
        self._takes_usable = takes_usable
        self._extractor_choice = (extractor, inception)
        self._merged: tuple[str, ...] = ()
        self._caches: dict[tuple[str, ...], tuple[LatentCache, CaptionCache]] = {}

    @cached_property
    def model(self) -> BaseModel:
        """The base model, on the GPU where there is one."""
        return open_model(self._base).to("cuda" if torch.cuda.is_available() else "cpu")

    @cached_property
    def extractor(self) -> Extractor:
        """What turns pictures into features."""
        name, inception = self._extractor_choice
        return choose_extractor(name, inception)

    # The participant's side of `federation.participant.Base`.

    @property
    def merged(self) -> tuple[str, ...]:
        """Content hashes of the residuals in the frozen weights."""
        return self._merged

    def reset(self) -> None:
        """Drop changed weights, so that the plan's base is read from its files again."""
        remove_lora(self.model)
        self.model.mark_unchanged("unet", "text_encoder")
        self.model.release("unet", "text_encoder")
        self._merged = ()

    def merge(self, residual: str) -> None:
        """Fold one residual into the frozen weights."""
        merge(self.model, self._adapter(residual))
        self._merged = (*self._merged, residual)

    def begin_with(self, weights: str, residuals: tuple[str, ...]) -> None:
        """Take the changed weights as they are with `residuals` in them."""
        set_base_weights(self.model, load_tensors(self.folder.blobs.get(weights)))
        self._merged = residuals

    def merged_weights(self, residuals: tuple[str, ...]) -> bytes:
        """The weights that `residuals` change, with them in, as a file that `begin_with` takes."""
        bring_up_to_date(self, residuals)
        keys = self._adapter(residuals[0])
        return to_bytes(get_base_weights(self.model, keys), {})

    def initial_adapter(self, seed: int) -> str:
        """Store the adapter that round 1 starts from, of zero effect, and return its content hash."""
        return self.folder.blobs.put(initial_adapter(self.model, self.plan, seed))

    def real(self) -> Real:
        """Measure the real pictures: the held-out ones, and all clients' pooled."""
        clients = [picture for client in self.plan.data.clients for picture in self._dataset(client).pictures]
        return Real(
            heldout=self.measured_heldout,
            clients=self._measured("clients", clients),
            extractor=self.extractor.name,
            resize=self.extractor.resize,
            base_hash=self.model.content_hash,
            resolution=self.model.resolution,
        )

    @cached_property
    def measured_heldout(self) -> str:
        """The file of the held-out pictures' features, in the run's folder."""
        return self._measured("heldout", self.heldout.pictures)

    def train(self, job: TrainJob, progress: Progress | None = None) -> Trained:
        """Carry out a training job, or return the outcome that is there already.

        `progress` is told of each step; what it raises ends the training, which the same job goes on with.
        """
        done = self.folder.outcome(job.name)
        if done.is_file():
            return Trained(**read_json(done))
        trained: list[Trained] = []

        def train(adapter: str | None, round_number: int) -> tuple[str, int]:
            trained.append(self._train(job, adapter, round_number, progress))
            return trained[0].update, trained[0].num_examples

        assigned = Assignment(job.who, job.round, job.adapter, job.residuals, job.merged)
        take_part(assigned, self, train)
        write_json(done, asdict(trained[0]))
        self.folder.drop_checkpoints(job.name)
        return trained[0]

    def _train(self, job: TrainJob, adapter: str | None, round_number: int, progress: Progress | None) -> Trained:
        settings = self.plan.training
        latents, captions = self._cached(job.clients)
        recipe = recipe_of(settings, job.steps, derived_seed(job.seed, f"{job.who} round {round_number}"))
        checkpoints = self.folder.checkpoints(job.name)
        if self.plan.trains_adapter:
            assert adapter is not None, "adapter runs start from an initial adapter"
            set_adapter(self.model, self._adapter(adapter))  # in the layers of the training before, where they fit
            result = train_lora(self.model, latents, captions, recipe, checkpoints, progress=progress)
            assert result.adapter is not None
            content = adapter_bytes(self._as_sent(job, result.adapter), "diffusers", {})
        else:
            self._set_weights(adapter)
            result = train_unet(self.model, latents, captions, recipe, checkpoints, progress=progress)
            assert result.tensors is not None
            content = to_bytes({name: self._cast(job, name, each) for name, each in result.tensors.items()}, {})
        quarter = max(1, len(result.losses) // 4)
        return Trained(
            update=self.folder.blobs.put(content),
            update_bytes=len(content),
            num_examples=len(latents),
            steps=result.steps,
            first_loss=float(np.mean(result.losses[:quarter])),
            last_loss=float(np.mean(result.losses[-quarter:])),
            seconds=result.seconds,
        )

    def _as_sent(self, job: TrainJob, adapter: Adapter) -> Adapter:
        return {
            module: Factors(self._cast(job, module, each.A), self._cast(job, module, each.B), each.alpha)
            for module, each in adapter.items()
        }

    def _cast(self, job: TrainJob, name: str, tensor: Tensor) -> Tensor:
        """The tensor as it goes over the wire; a baseline's training sends nothing and loses nothing."""
        wire = WIRE[self.plan.network.wire]
        if wire is tensor.dtype or not is_client(job.who):
            return tensor
        cast = tensor.to(wire)
        if not bool(torch.isfinite(cast).all()):
            raise RunError(
                f"{job.who}, round {job.round}: '{name}' has values beyond {self.plan.network.wire}; "
                "lower training.learning_rate, or set network.wire to bfloat16"
            )
        return cast

    def draw(self, job: DrawJob) -> Drawn:
        """Carry out a drawing job, or return the outcome that is there already."""
        done = self.folder.outcome(job.name)
        if done.is_file():
            return Drawn(**read_json(done))
        began = time.monotonic()
        remove_lora(self.model)  # a training's stay for the next one
        bring_up_to_date(self, job.residuals)
        adapters: list[tuple[Adapter, float]] = []
        if not self.plan.trains_adapter:
            self._set_weights(job.adapter)
        elif job.adapter is not None:
            adapters = [(self._adapter(job.adapter), 1.0)]
        settings, gallery = self.plan.evaluation, self.plan.gallery
        heldout = [picture.caption for picture in self.heldout.pictures]
        prompts = gallery_prompts(self.plan, self.heldout)
        seeds = [derived_seed(job.seed, f"held-out {number}") for number in range(len(heldout))]
        gallery_seeds = [gallery.seed + number for number in range(len(prompts))]
        pictures = generate(
            self.model,
            [*prompts, *heldout],
            [*gallery_seeds, *seeds],
            steps=settings.sampler_steps,
            guidance=settings.guidance,
            batch_size=settings.batch_size,
            sampler=settings.sampler,
            adapters=adapters,
            emphasis=False,
        )
        folder = self.folder.gallery(job.seed, job.round, job.who)
        for number, prompt in enumerate(prompts):
            text = parameters_text(
                prompt=prompt,
                negative="",
                steps=settings.sampler_steps,
                sampler=SAMPLERS[settings.sampler][1],
                guidance=settings.guidance,
                seed=gallery_seeds[number],
                size=self.model.resolution,
                model_name=self.plan.model,
                model_hash=self.model.content_hash,
            )
            save_png(folder / f"{number:02d}.png", pictures[number], text)
        features = self.folder.features(job.seed, job.round, job.who)
        save_features(features, self.extractor.features(pictures[len(prompts) :]))
        out = self.folder.out
        drawn = Drawn(
            features=str(features.relative_to(out)),
            gallery=str(folder.relative_to(out)),
            seconds=time.monotonic() - began,
        )
        write_json(done, asdict(drawn))
        return drawn

    @cached_property
    def heldout(self) -> Dataset:
        """The held-out pictures, problems refused."""
        return self._dataset(self.plan.data.heldout)

    def _measured(self, name: str, pictures: Sequence[Picture]) -> str:
        pixels = np.stack([load_pixels(picture, self.model.resolution) for picture in pictures])
        path = self.folder.real_features(name)
        save_features(path, self.extractor.features(pixels))
        return str(path.relative_to(self.folder.out))

    def _dataset(self, name: str) -> Dataset:
        if name not in self._folders:
            raise DatasetError(f"no pictures of '{name}' here; the folders given are of {', '.join(self._folders)}")
        dataset = read_folder(self._folders[name], self.model.resolution, self.plan.data.trigger)
        if dataset.problems and not self._takes_usable:
            raise DatasetError(str(dataset.problems[0]))
        return dataset

    def _cached(self, clients: tuple[str, ...]) -> tuple[LatentCache, CaptionCache]:
        if clients not in self._caches:
            datasets = [self._dataset(client) for client in clients]
            pooled = replace(datasets[0], pictures=tuple(picture for each in datasets for picture in each.pictures))
            remove_lora(self.model)
            latents = cache_latents(self.model, pooled, self.plan.training.flip)
            self._caches[clients] = latents, cache_captions(self.model, pooled)
        return self._caches[clients]

    def _adapter(self, digest: str) -> Adapter:
        adapter, _ = read_adapter(self.folder.blobs.get(digest))
        return adapter

    def _set_weights(self, digest: str | None) -> None:
        self.reset()
        if digest is not None:
            set_weights(self.model, load_tensors(self.folder.blobs.get(digest)))


def save_features(path: Path, features_nd: np.ndarray) -> None:
    """Write features (n, d) as a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, features_nd, allow_pickle=False)
    write_atomic(path, buffer.getvalue())
