"""Trains the starter's AutoencoderKL (f=4, 4 latent channels) on every icon.

L1 plus gradient loss, small KL, and the squared error of the colours pooled to 16x16. Of a 4x4 patch's principal
components red-green is only the fifth, behind brightness, its two slopes and yellow-blue: with four latent channels
and L1 plus gradient loss alone, red and green both come out brown. So for the first steps three of the four channels
are held to the pooled colours, and are free to take on more from there.
Resumable: `python -m starter.vae --work DIR` goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from starter import checkpoint, parallel, pictures

STEPS = 900
ANCHOR_STEPS = 250
BATCH = 16
PEAK_LR = 2e-3
KL_WEIGHT = 1e-4
GRADIENT_WEIGHT = 0.5
COLOUR_WEIGHT = 5.0
ANCHOR_SCALE = 2.0
SEED = 20260101


def build() -> AutoencoderKL:
    """The untrained autoencoder, about 1.4M parameters; 64x64x3 pictures, 16x16x4 latents."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(24, 48, 96),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
    )


# B batch, C channels, H W picture size
def augment(pixels_BCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Flip, move, scale, permute colours, tint: the autoencoder must serve styles that it never saw."""
    count = pixels_BCHW.shape[0]
    scale = 0.75 + 0.5 * torch.rand(count, generator=generator)
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    shift = (torch.rand(count, 2, generator=generator) - 0.5) * 0.4
    zero = torch.zeros(count)
    theta = torch.stack(
        [torch.stack([flip / scale, zero, shift[:, 0]], 1), torch.stack([zero, 1 / scale, shift[:, 1]], 1)], 1
    )
    grid = F.affine_grid(theta, list(pixels_BCHW.shape), align_corners=False)
    moved = F.grid_sample(pixels_BCHW - 1.0, grid, mode="bilinear", align_corners=False) + 1.0
    orders = torch.stack([torch.randperm(3, generator=generator) for _ in range(count)])
    keep = torch.rand(count, generator=generator) < 0.6
    orders[keep] = torch.arange(3)
    permuted = torch.stack([picture[order] for picture, order in zip(moved, orders, strict=True)])
    gain = 1.0 - 0.35 * torch.rand(count, 3, 1, 1, generator=generator) * (
        torch.rand(count, 1, 1, 1, generator=generator) < 0.3
    )
    return ((permuted + 1.0) * gain - 1.0).clamp(-1, 1)


def gradient_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of the horizontal and vertical gradients."""
    dx = (output.diff(dim=-1) - target.diff(dim=-1)).abs().mean()
    dy = (output.diff(dim=-2) - target.diff(dim=-2)).abs().mean()
    return dx + dy


def colours(pixels_BCHW: torch.Tensor) -> torch.Tensor:
    """Brightness, red-green and yellow-blue of pictures pooled to a quarter of their size, (B, 3, H / 4, W / 4)."""
    red, green, blue = F.avg_pool2d(pixels_BCHW, 4).unbind(1)
    return torch.stack([(red + green + blue) / 3, red - green, (red + green) / 2 - blue], dim=1)


def learning_rate(step: int) -> float:
    """Linear warm-up over 50 steps, then cosine to 2% of the peak."""
    if step < 50:
        return PEAK_LR * (step + 1) / 50
    return PEAK_LR * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - 50) / (STEPS - 50))))


def train(rank: int, processes: int, work: Path) -> None:
    """Train to `STEPS`, or go on from `work/vae.ckpt`, as process `rank` of `processes`."""
    torch.manual_seed(SEED)
    vae = build().to(memory_format=torch.channels_last)
    parameters = list(vae.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=PEAK_LR, weight_decay=1e-4, fused=True)
    generator = torch.Generator().manual_seed(SEED)
    step = 0
    state = checkpoint.load(work / "vae.ckpt")
    if state is not None:
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        step = state["step"]
    icons = [pictures.concept_pictures(work, style) for style in pictures.TRAINING_SETS]
    data = pictures.to_tensor(np.concatenate([pictures.all_pictures(work), *icons, *icons, *icons]))
    mine = parallel.share(rank, processes, BATCH)
    if rank == 0:
        print(f"vae: {len(data)} pictures, step {step} of {STEPS}", flush=True)
    began, running = time.monotonic(), 0.0
    while step < STEPS:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        chosen = torch.randint(len(data), (BATCH,), generator=generator)
        pixels = augment(data[chosen], generator)[mine].contiguous(memory_format=torch.channels_last)
        noise = torch.randn(BATCH, 4, 16, 16, generator=generator)[mine]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            posterior = vae.encode(pixels).latent_dist
            output = vae.decode(posterior.mean + posterior.std * noise).sample
        output = output.float()
        kl = posterior.kl().float().mean() / posterior.mean[0].numel()
        loss = (output - pixels).abs().mean() + GRADIENT_WEIGHT * gradient_loss(output, pixels)
        loss = loss + COLOUR_WEIGHT * F.mse_loss(colours(output), colours(pixels)) + KL_WEIGHT * kl
        if step < ANCHOR_STEPS:
            loss = loss + F.mse_loss(posterior.mean[:, :3].float(), ANCHOR_SCALE * colours(pixels))
        loss = loss / processes
        loss.backward()
        parallel.sum_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        running += loss.item() * processes
        if rank > 0:
            continue
        if step % 50 == 0:
            print(f"vae {step}: loss {running / 50:.4f}, {(time.monotonic() - began) / 50:.2f} s a step", flush=True)
            began, running = time.monotonic(), 0.0
        if step % 100 == 0 or step == STEPS:
            checkpoint.save(
                work / "vae.ckpt",
                {
                    "vae": vae.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "generator": generator.get_state(),
                    "step": step,
                },
            )


def trained(work: Path) -> AutoencoderKL:
    """The trained autoencoder of `work/vae.ckpt`."""
    state = checkpoint.load(work / "vae.ckpt")
    assert state is not None, "train the autoencoder first: python -m starter.vae"
    assert state["step"] == STEPS, "train the autoencoder to its end: python -m starter.vae"
    vae = build()
    vae.load_state_dict(state["vae"])
    return vae.eval()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".starter-work"))
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    pictures.all_pictures(arguments.work)
    parallel.run(train, arguments.processes, arguments.work)
