"""Assembles the trained parts into the folder that ships: `python -m starter.package --work DIR --out FOLDER`.

The folder is in the diffusers layout, float16 safetensors, and is checked by drawing a picture from it with
diffusers alone, as a stranger would.
"""

from __future__ import annotations

import argparse
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline

from starter import art, checkpoint, denoiser, pictures, tokenizer, vae

MAX_BYTES = 25_000_000


def read_state(path: Path) -> dict[str, Any]:
    """A training's last checkpoint; FileNotFoundError where that training has not begun."""
    state = checkpoint.load(path)
    if state is None:
        raise FileNotFoundError(f"{path}: run the training that writes it first")
    return state


def assemble(work: Path) -> StableDiffusionPipeline:
    """The starter from the trainings' checkpoints in `work`: the denoiser's averaged weights, float16."""
    words = tokenizer.kept(work, pictures.vocabulary_of(art.fetch(work)))
    autoencoder = vae.build()
    autoencoder.load_state_dict(read_state(work / "vae.ckpt")["vae"])
    autoencoder.register_to_config(scaling_factor=read_state(work / "latents.pt")["scale"])
    averaged = read_state(work / "denoiser.ckpt")["ema"]
    unet = denoiser.build_unet()
    text_encoder = denoiser.build_text_encoder(words)
    for prefix, module in (("unet", unet), ("text_encoder", text_encoder)):
        for name, parameter in module.named_parameters():
            parameter.data.copy_(averaged[f"{prefix}.{name}"])
    # diffusers asks for an offset of 1 and warns of any other; the spacing 'trailing' does not use it.
    scheduler = DDIMScheduler.from_config(denoiser.scheduler().config, steps_offset=1)
    return StableDiffusionPipeline(
        vae=autoencoder.half(),
        text_encoder=text_encoder.half(),
        tokenizer=words,
        unet=unet.half(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def write(pipeline: StableDiffusionPipeline, out: Path) -> None:
    """Replace the folder `out` by `pipeline`."""
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    pipeline.save_pretrained(partial)
    # transformers opens a model in the type that its config names, diffusers in float32: without this, a plain
    # from_pretrained would mix the two.
    config = partial / "text_encoder" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "dtype": "float32"}, indent=2) + "\n")
    for path in partial.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)


def check(out: Path) -> None:
    """Load `out` with plain diffusers, as it is and in float32, draw a picture each time, and compare the two."""
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    assert size <= MAX_BYTES, f"{out} has {size} bytes, at most {MAX_BYTES} ship"
    drawn = []
    for options in ({}, {"torch_dtype": torch.float32}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # newer diffusers call it `dtype`
            pipeline = StableDiffusionPipeline.from_pretrained(out, **options)
        pipeline.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(0)
        drawn.append(pipeline("red_apple", num_inference_steps=4, generator=generator, output_type="pt").images)
    assert drawn[0].shape == (1, 3, vae.build().config.sample_size, vae.build().config.sample_size)
    assert torch.equal(drawn[0], drawn[1]), "the picture depends on how the folder is loaded"
    print(f"{out}: {size / 1e6:.1f} MB, loads and draws with diffusers alone")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".starter-work"))
    parser.add_argument("--out", type=Path, default=Path("src/fedflow/data/starter"))
    arguments = parser.parse_args()
    write(assemble(arguments.work), arguments.out)
    check(arguments.out)
