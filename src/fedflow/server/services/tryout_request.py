"""What a person may say of pictures that they want drawn: described once, for the API, the form and its checks."""

from __future__ import annotations

from pydantic import Field, field_validator

from fedflow.plan import Settings

MOST_PICTURES = 64
HIGHEST_SEED = 2**32 - 1


class TryoutRequest(Settings):
    """Pictures to be drawn with a release. The server's settings may allow less than is allowed here."""

    prompt: str = Field(min_length=1, max_length=500, description="What the pictures should show.")
    negative_prompt: str = Field("", max_length=500, description="What they should not show.")
    pictures: int = Field(2, ge=1, le=MOST_PICTURES, description="Each is drawn from its own seed.")
    strength: float = Field(
        1.0, ge=0.0, le=2.0, strict=False, description="How strongly the adapter acts: 1 as trained, 0 not at all."
    )
    steps: int = Field(20, ge=1, le=1000, description="Denoising steps of each picture; more take longer.")
    guidance: float = Field(
        3.0, ge=1.0, le=30.0, strict=False, description="How closely the prompt is followed; 1 is loosely."
    )
    seed: int | None = Field(
        None,
        ge=0,
        le=HIGHEST_SEED,
        description="Seed of the first picture, plus one for each next; a random one if empty.",
    )
    size_pixels: int | None = Field(None, ge=16, le=4096, description="Width and height; the model's own if empty.")

    @field_validator("prompt", "negative_prompt")
    @classmethod
    def _in_one_line(cls, text: str) -> str:
        line = " ".join(text.split())
        if not line.isprintable():
            raise ValueError("holds characters that nobody can see; leave them out")
        return line

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, text: str) -> str:
        if not text:
            raise ValueError("say what the pictures shall show")
        return text
