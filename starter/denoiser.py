"""Trains the starter's UNet2DConditionModel and CLIPTextModel together on the vocabulary's pictures.

Latents are made once by the trained autoencoder. v-prediction at zero terminal SNR, min-SNR weights,
captions dropped for classifier-free guidance, an average (EMA) of the weights is what ships.
Resumable: `python -m starter.denoiser --work DIR` goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import functools
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from fedflow.diffusion import TARGETS, min_snr_weight, noisy_latents, variance_preserving_levels
from starter import art, checkpoint, parallel, pictures, tokenizer, vae, vocabulary

BATCH = 32
PEAK_LR = 1.2e-3
WARM_UP = 300
GAMMA = 5.0
WEIGHT_FLOOR = 0.25
EMA_DECAY = 0.999
EMA_EVERY = 4
SEED = 20260102
PARTS = ("unet", "text_encoder")
TEXT_WIDTH = 128
PREDICTION_TYPE = "v_prediction"
CAPTION_DROPPED, STYLE_DROPPED, STYLE_INVENTED, EXTRA_DROPPED = 0.1, 0.1, 0.1, 0.3


def scheduler() -> DDIMScheduler:
    """The starter's schedule: Stable Diffusion's betas, rescaled to zero terminal SNR (arXiv 2305.08891)."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=PREDICTION_TYPE,
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        steps_offset=1,
        clip_sample=False,
        set_alpha_to_one=True,
    )


def build_unet() -> UNet2DConditionModel:
    """The untrained denoiser, 5.4M parameters: attention at 8x8, 4x4 and, on the way up, 16x16."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(48, 96, 128),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=(2, 3, 4),
        norm_num_groups=8,
        use_linear_projection=True,
    )


def build_text_encoder(words: CLIPTokenizer) -> CLIPTextModel:
    """The untrained text encoder: two layers of width 128."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=tokenizer.MAX_TOKENS,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
            projection_dim=TEXT_WIDTH,
        )
    )


def caption(tags: list[str], chance: random.Random) -> str:
    """One training caption from all tags of a picture (style, concept, extras): parts are left out at random.

    A made-up style tag stands in for the style now and then, so that a trigger tag that the model does not
    know leaves the concept readable.
    """
    if chance.random() < CAPTION_DROPPED:
        return ""
    style, concept, *extras = tags
    kept = [concept, *(tag for tag in extras if chance.random() >= EXTRA_DROPPED)]
    draw = chance.random()
    if draw < STYLE_DROPPED:
        return ", ".join(kept)
    if draw < STYLE_DROPPED + STYLE_INVENTED:
        letters = "".join(chance.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(chance.randint(2, 7)))
        return ", ".join([f"{letters}_style", *kept])
    return ", ".join([style, *kept])


def full_precision_attention() -> None:
    """Run attention in float32 under autocast: bfloat16's backward pass is seven times slower on a CPU."""
    attention = F.scaled_dot_product_attention

    def in_float32(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: object, **kwargs: object
    ) -> torch.Tensor:
        with torch.autocast(query.device.type, enabled=False):
            return attention(query.float(), key.float(), value.float(), *args, **kwargs)  # type: ignore[arg-type]

    F.scaled_dot_product_attention = in_float32  # type: ignore[assignment]


@torch.no_grad()
def latent_statistics(work: Path) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Posterior mean and std of every training picture, (n, 4, 16, 16) each, and the scaling factor 1/std."""
    path = work / "latents.pt"
    state = checkpoint.load(path)
    if state is None:
        encoder = vae.trained(work)
        pixels = torch.cat(
            [pictures.to_tensor(pictures.concept_pictures(work, style)) for style in pictures.TRAINING_SETS]
        )
        posteriors = [encoder.encode(batch).latent_dist for batch in pixels.split(64)]
        mean = torch.cat([posterior.mean for posterior in posteriors])
        std = torch.cat([posterior.std for posterior in posteriors])
        scale = 1.0 / float((mean.var() + std.square().mean()).sqrt())
        state = {"mean": mean.clone(), "std": std.clone(), "scale": scale}
        checkpoint.save(path, state)
    return state["mean"], state["std"], state["scale"]


def learning_rate(step: int, steps: int) -> float:
    """Warm up, stay, and fall linearly to 1% over the last quarter, so that the end may be chosen while it runs."""
    fall = max(0.0, (step - 0.75 * steps) / (0.25 * steps))
    return PEAK_LR * min(1.0, (step + 1) / WARM_UP) * (1.0 - 0.99 * fall)


def train(rank: int, processes: int, work: Path, steps: int) -> None:
    """Train to `steps`, or go on from `work/denoiser.ckpt`, as process `rank` of `processes`.

    Every process draws the whole batch and works on its share of it.
    """
    torch.manual_seed(SEED)
    full_precision_attention()
    concepts = pictures.vocabulary_of(art.fetch(work))
    words = tokenizer.kept(work, concepts)
    mean, std, scale = latent_statistics(work)
    tags = [
        vocabulary.caption_tags(name, category, style)
        for style in pictures.TRAINING_SETS
        for name, category in concepts.items()
    ]
    unet = build_unet().to(memory_format=torch.channels_last)
    text_encoder = build_text_encoder(words)
    modules = [unet, text_encoder]
    names = [
        f"{part}.{name}" for part, module in zip(PARTS, modules, strict=True) for name, _ in module.named_parameters()
    ]
    parameters = [parameter for module in modules for parameter in module.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=PEAK_LR, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    averaged = [parameter.detach().clone() for parameter in parameters]
    generator = torch.Generator().manual_seed(SEED)
    step = 0
    state = checkpoint.load(work / "denoiser.ckpt")
    if state is not None:
        unet.load_state_dict(state["unet"])
        text_encoder.load_state_dict(state["text_encoder"])
        optimizer.load_state_dict(state["optimizer"])
        averaged = [state["ema"][name] for name in names]
        generator.set_state(state["generator"])
        step = state["step"]
    levels = variance_preserving_levels(scheduler().alphas_cumprod)
    weights = min_snr_weight(levels, PREDICTION_TYPE, GAMMA).clamp(min=WEIGHT_FLOOR)
    share = parallel.share(rank, processes, BATCH)
    if rank == 0:
        count = sum(parameter.numel() for parameter in unet.parameters()) / 1e6
        print(f"denoiser: {count:.2f}M parameters, {len(tags)} pictures, step {step} of {steps}", flush=True)
    began, running = time.monotonic(), 0.0
    while step < steps:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        chosen = torch.randint(len(tags), (BATCH,), generator=generator)
        chance = random.Random(f"{SEED} {step}")
        captions = [caption(tags[index], chance) for index in chosen.tolist()][share]
        tokens = words(
            captions, padding="max_length", truncation=True, max_length=tokenizer.MAX_TOKENS, return_tensors="pt"
        ).input_ids
        latents = (scale * (mean[chosen] + std[chosen] * torch.randn(mean[chosen].shape, generator=generator)))[share]
        noise = torch.randn(BATCH, *latents.shape[1:], generator=generator)[share]
        spread = (torch.randperm(BATCH, generator=generator) + torch.rand(BATCH, generator=generator)) / BATCH
        index = (spread * len(levels)).long().clamp(max=len(levels) - 1)[share]
        noisy = noisy_latents(levels, index, latents, noise).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            context = text_encoder(tokens).last_hidden_state
            predicted = unet(noisy, levels.timesteps_T[index], context).sample
        error = (
            (predicted.float() - TARGETS[PREDICTION_TYPE](levels, index, latents, noise)).square().mean(dim=(1, 2, 3))
        )
        loss = (weights[index] * error).sum() / BATCH
        loss.backward()
        parallel.sum_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        running += loss.item() * processes
        if rank > 0:
            continue
        if step % EMA_EVERY == 0:
            decay = min(EMA_DECAY, (1 + step) / (10 + step)) ** EMA_EVERY
            torch._foreach_lerp_(averaged, [parameter.data for parameter in parameters], 1.0 - decay)
        if step % 100 == 0:
            print(
                f"denoiser {step}: loss {running / 100:.4f}, {(time.monotonic() - began) / 100:.3f} s a step",
                flush=True,
            )
            began, running = time.monotonic(), 0.0
        if step % 250 == 0 or step == steps:
            checkpoint.save(
                work / "denoiser.ckpt",
                {
                    "unet": unet.state_dict(),
                    "text_encoder": text_encoder.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "ema": dict(zip(names, averaged, strict=True)),
                    "generator": generator.get_state(),
                    "step": step,
                },
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".starter-work"))
    parser.add_argument("--steps", type=int, default=17_500)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    latent_statistics(arguments.work)
    tokenizer.kept(arguments.work, pictures.vocabulary_of(art.fetch(arguments.work)))  # before two processes do
    parallel.run(functools.partial(train, steps=arguments.steps), arguments.processes, arguments.work)
