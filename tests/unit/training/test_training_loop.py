"""The loop: what it learns from, what it leaves alone, and that a stop changes nothing."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fedflow.diffusion import NoiseLevels, min_snr_weight
from fedflow.errors import AdapterError, DatasetError, PlanError, RunError, StorageError
from fedflow.models import BaseModel, add_lora, get_adapter, open_model, set_adapter
from fedflow.training import (
    CHECKPOINT_NAME,
    Begun,
    CaptionCache,
    LatentCache,
    Progress,
    Recipe,
    TrainResult,
    begun_in,
    data_of,
    train_lora,
    train_unet,
)

RECIPE = Recipe(steps=7, batch_size=3, accumulation=2, learning_rate=1e-2, checkpoint_every=3, warmup_steps=2, seed=4)


def latents(num_examples: int = 5) -> LatentCache:
    generator = torch.Generator().manual_seed(9)
    mean = torch.randn(num_examples, 2, 4, 8, 8, generator=generator)
    return LatentCache(mean, torch.full_like(mean, 0.1))


def captions(model: BaseModel) -> CaptionCache:
    texts = ("red, apple", "green, pear", "")
    with torch.no_grad():
        return CaptionCache(texts, torch.tensor([0, 1, 0, 1, 0]), model.encode_captions(list(texts)))


def with_lora(folder: Path, text_encoder: bool = False) -> BaseModel:
    model = open_model(str(folder))
    add_lora(model, 2, 2.0, text_encoder, torch.Generator().manual_seed(0))
    return model


def parts(cache: LatentCache) -> tuple[torch.Tensor, torch.Tensor]:
    return cache.mean_NVCHW, cache.std_NVCHW


def same(left: TrainResult, right: TrainResult) -> bool:
    if left.tensors is not None and right.tensors is not None:
        pairs = [(left.tensors[name], right.tensors[name]) for name in left.tensors]
    else:
        assert left.adapter is not None
        assert right.adapter is not None
        pairs = [
            (getattr(left.adapter[key], part), getattr(right.adapter[key], part))
            for key in left.adapter
            for part in "AB"
        ]
    return left.losses == right.losses and all(torch.equal(one, other) for one, other in pairs)


def stop_at(step: int) -> Progress:
    def progress(done: int, _steps: int, _loss: float) -> None:
        if done == step:
            raise KeyboardInterrupt

    return progress


def test_lora_training_moves_the_adapter_and_nothing_else(tiny_model_folder: Path) -> None:
    model = with_lora(tiny_model_folder)
    start = get_adapter(model)
    frozen = {name: value.clone() for name, value in model.unet.named_parameters() if not value.requires_grad}
    told: list[tuple[int, int]] = []
    result = train_lora(
        model, latents(), captions(model), RECIPE, progress=lambda step, steps, _: told.append((step, steps))
    )
    assert result.steps == len(result.losses) == 7
    assert told == [(step, 7) for step in range(1, 8)]
    assert result.tensors is None
    assert result.adapter is not None
    assert all(result.adapter[key].B.any() for key in start)
    assert not any(torch.equal(result.adapter[key].A, start[key].A) for key in start)
    now = dict(model.unet.named_parameters())
    assert all(torch.equal(value, now[name]) for name, value in frozen.items())
    assert all(now[name].grad is None for name in frozen)


def test_frozen_parts_are_freed_before_the_unet_trains(tiny_model_folder: Path) -> None:
    model = with_lora(tiny_model_folder)
    cache = captions(model)
    seen: list[bool] = []
    train_lora(
        model,
        latents(),
        cache,
        replace(RECIPE, steps=1),
        progress=lambda *_: seen.append(model.is_loaded("vae") or model.is_loaded("text_encoder")),
    )
    assert seen == [False]


def test_training_learns_its_examples(tiny_model_folder: Path) -> None:
    model = with_lora(tiny_model_folder)
    one = LatentCache(torch.full((1, 1, 4, 8, 8), 2.0), torch.full((1, 1, 4, 8, 8), 0.01))
    text = CaptionCache(("red", ""), torch.tensor([0]), captions(model).embeddings_ULD[:2])
    result = train_unet(model, one, text, Recipe(steps=40, batch_size=8, learning_rate=3e-3, min_snr_gamma=None))
    assert sum(result.losses[-5:]) < 0.7 * sum(result.losses[:5])


@pytest.mark.parametrize("text_encoder", [False, True])
def test_a_stopped_lora_training_ends_as_one_never_stopped(
    tiny_model_folder: Path, tmp_path: Path, text_encoder: bool
) -> None:
    whole_model = with_lora(tiny_model_folder, text_encoder)
    cache = captions(whole_model)
    whole = train_lora(whole_model, latents(), cache, RECIPE)
    with pytest.raises(KeyboardInterrupt, match=r"stopped after step 5 of 7; .* go on from step 3"):
        train_lora(
            with_lora(tiny_model_folder, text_encoder),
            latents(),
            cache,
            RECIPE,
            checkpoint_folder=tmp_path,
            progress=stop_at(5),
        )
    steps: list[int] = []
    resumed = train_lora(
        with_lora(tiny_model_folder, text_encoder),
        latents(),
        cache,
        RECIPE,
        checkpoint_folder=tmp_path,
        progress=lambda step, *_: steps.append(step),
    )
    assert steps == [4, 5, 6, 7]
    assert same(resumed, whole)
    again = train_lora(with_lora(tiny_model_folder, text_encoder), latents(), cache, RECIPE, checkpoint_folder=tmp_path)
    assert same(again, whole)


def test_what_its_watcher_ends_goes_on_from_that_very_step(tiny_model_folder: Path, tmp_path: Path) -> None:
    whole_model = with_lora(tiny_model_folder)
    cache = captions(whole_model)
    whole = train_lora(whole_model, latents(), cache, RECIPE)

    def end(done: int, _steps: int, _loss: float) -> None:
        if done == 5:
            raise LookupError

    steps: list[int] = []
    for progress, kinds in ((end, LookupError), (lambda step, *_: steps.append(step), ())):
        with pytest.raises(kinds) if kinds else nullcontext():
            result = train_lora(
                with_lora(tiny_model_folder),
                latents(),
                cache,
                replace(RECIPE, checkpoint_every=1000),
                checkpoint_folder=tmp_path,
                progress=progress,
            )
    assert steps == [6, 7]
    assert same(result, whole)


def test_a_stopped_unet_training_ends_as_one_never_stopped(tiny_model_folder: Path, tmp_path: Path) -> None:
    model = open_model(str(tiny_model_folder))
    cache = captions(model)
    whole = train_unet(model, latents(), cache, RECIPE)
    assert whole.adapter is None
    assert not any(parameter.requires_grad for parameter in model.unet.parameters())
    with pytest.raises(KeyboardInterrupt, match="go on from step 6"):
        train_unet(
            open_model(str(tiny_model_folder)),
            latents(),
            cache,
            RECIPE,
            checkpoint_folder=tmp_path,
            progress=stop_at(7),
        )
    resumed = train_unet(
        open_model(str(tiny_model_folder)),
        latents(),
        cache,
        replace(RECIPE, checkpoint_every=2),
        checkpoint_folder=tmp_path,
    )
    assert same(resumed, whole)


def test_a_stop_without_a_folder_says_so(tiny_model_folder: Path) -> None:
    model = with_lora(tiny_model_folder)
    with pytest.raises(KeyboardInterrupt, match="stopped after step 1 of 7; nothing was kept"):
        train_lora(model, latents(), captions(model), RECIPE, progress=stop_at(1))


def test_the_seed_decides_everything(tiny_model_folder: Path) -> None:
    model = with_lora(tiny_model_folder)
    start, cache = get_adapter(model), captions(model)
    recipe = replace(RECIPE, steps=2)
    first = train_lora(model, latents(), cache, recipe)
    set_adapter(model, start)
    torch.manual_seed(123)
    assert same(train_lora(model, latents(), cache, recipe), first)
    set_adapter(model, start)
    assert not same(train_lora(model, latents(), cache, replace(recipe, seed=5)), first)


def test_a_checkpoint_of_another_training_is_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    model = with_lora(tiny_model_folder)
    start, cache = get_adapter(model), captions(model)
    recipe = replace(RECIPE, steps=1)
    train_lora(model, latents(), cache, recipe, checkpoint_folder=tmp_path)
    set_adapter(model, start)
    with pytest.raises(PlanError, match=r"another training \(learning_rate 0.01, now 0.5\); remove it"):
        train_lora(model, latents(), cache, replace(recipe, learning_rate=0.5), checkpoint_folder=tmp_path)
    other = latents()
    other.mean_NVCHW[0] += 1.0
    with pytest.raises(PlanError, match=r"another training \(data "):
        train_lora(model, other, cache, recipe, checkpoint_folder=tmp_path)
    add_lora(model, 2, 2.0, False, torch.Generator().manual_seed(7))
    with pytest.raises(PlanError, match=r"another training \(other weights at the start\)"):
        train_lora(model, latents(), cache, recipe, checkpoint_folder=tmp_path)


def test_with_other_data_it_goes_on_from_the_same_weights(tiny_model_folder: Path, tmp_path: Path) -> None:
    model = with_lora(tiny_model_folder)
    start, cache, fewer = get_adapter(model), captions(model), LatentCache(*(each[:4] for each in parts(latents())))
    less = replace(cache, index_N=cache.index_N[:4])
    with pytest.raises(KeyboardInterrupt):
        train_lora(model, latents(), cache, RECIPE, checkpoint_folder=tmp_path, progress=stop_at(5))
    begun = begun_in(tmp_path)
    assert begun == Begun(3, 7, 5, data_of(latents(), cache))
    before = load_file(tmp_path / CHECKPOINT_NAME)["losses"]
    set_adapter(model, start)
    with pytest.raises(PlanError, match="num_examples 5, now 4"):
        train_lora(model, fewer, less, RECIPE, checkpoint_folder=tmp_path)
    result = train_lora(model, fewer, less, RECIPE, checkpoint_folder=tmp_path, of_other_data=True)
    assert result.losses[:3] == tuple(before.tolist())
    assert begun_in(tmp_path) == Begun(7, 7, 4, data_of(fewer, less))
    set_adapter(model, start)
    anew = train_lora(model, fewer, less, RECIPE)
    assert not same(result, anew), "what was learnt before stays"
    other = replace(RECIPE, learning_rate=0.5)
    with pytest.raises(PlanError, match="learning_rate"):
        train_lora(model, fewer, less, other, checkpoint_folder=tmp_path, of_other_data=True)


def test_a_damaged_checkpoint_is_named(tiny_model_folder: Path, tmp_path: Path) -> None:
    model = with_lora(tiny_model_folder)
    (tmp_path / CHECKPOINT_NAME).write_bytes(b"not tensors")
    with pytest.raises(StorageError, match=CHECKPOINT_NAME):
        train_lora(model, latents(), captions(model), RECIPE, checkpoint_folder=tmp_path)


def test_a_loss_that_is_not_finite_ends_the_training(tiny_model_folder: Path, tmp_path: Path) -> None:
    model = with_lora(tiny_model_folder)
    broken = latents()
    broken.mean_NVCHW[:] = float("inf")
    with pytest.raises(RunError, match="the loss of step 1 is nan; lower the learning rate"):
        train_lora(model, broken, captions(model), RECIPE, checkpoint_folder=tmp_path)
    assert not (tmp_path / CHECKPOINT_NAME).exists()


def test_what_does_not_belong_together_is_refused(tiny_model_folder: Path) -> None:
    model = open_model(str(tiny_model_folder))
    cache = captions(model)
    with pytest.raises(AdapterError, match="has no LoRA layers to train"):
        train_lora(model, latents(), cache, RECIPE)
    with pytest.raises(DatasetError, match="4 pictures, but 5 captions"):
        train_unet(model, latents(4), cache, RECIPE)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "flow"])
def test_the_loss_is_the_weighted_error_of_the_models_target(
    tiny_model_folder: Path, tmp_path: Path, prediction_type: str
) -> None:
    """A denoiser that always answers zero has the target's mean square as its loss, weighted by Min-SNR."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    config = folder / "scheduler" / "scheduler_config.json"
    told = "flow_prediction" if prediction_type == "flow" else prediction_type
    config.write_text(config.read_text().replace("v_prediction", told))
    model = open_model(str(folder))
    assert model.prediction_type == prediction_type
    model.unet.conv_out.weight.data.zero_()
    model.unet.conv_out.bias.data.zero_()
    constant = LatentCache(torch.full((1, 1, 4, 8, 8), 3.0), torch.zeros(1, 1, 4, 8, 8))
    text = CaptionCache(("",), torch.tensor([0]), captions(model).embeddings_ULD[:1])
    recipe = Recipe(steps=1, batch_size=64, learning_rate=1e-9, min_snr_gamma=5.0, weight_floor=0.0)
    add_lora(model, 1, 1.0, False, torch.Generator().manual_seed(0))
    loss = train_lora(model, constant, text, recipe).losses[0]
    levels: NoiseLevels = model.levels()
    signal, noise = levels.signal_T.square(), levels.noise_T.square()
    # mean squares of the targets: noise 1, latent 9
    target = {
        "epsilon": torch.ones(len(levels)),
        "v_prediction": signal + 9 * noise,
        "flow": torch.full_like(noise, 10.0),
    }
    expected = (min_snr_weight(levels, prediction_type, 5.0) * target[prediction_type]).mean().item()
    assert loss == pytest.approx(expected, rel=0.03)
