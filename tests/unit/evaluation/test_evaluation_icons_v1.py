"""The shipped extractor: its file, its sameness from run to run, and that it sees concept and style."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter, ImageOps

from fedflow.evaluation.distances import bootstrap_interval, kernel_distance
from fedflow.evaluation.icons_v1 import FEATURES, FOLDER, IconsV1, Style, icons_v1
from fedflow.evaluation.recognition import nearest_concepts
from fedflow.shipped import demo_folder
from fedflow.tensors.making import MAKING


@pytest.fixture(scope="module")
def extractor() -> IconsV1:
    return icons_v1()


def shipped(folder: str, count: int) -> np.ndarray:
    paths = sorted((demo_folder() / folder).glob("*.png"))[:count]
    return np.stack([np.asarray(Image.open(path).convert("RGB").resize((64, 64))) for path in paths])


def test_the_file_is_small_and_described() -> None:
    assert (FOLDER / "model.safetensors").stat().st_size <= 8_000_000
    description = json.loads((FOLDER / "config.json").read_text())
    assert description["features"] == FEATURES
    assert not any("fluent" in package for package in description["trained_on"])
    assert len(description["concepts"]) >= 450
    assert description["categories"] == ["activity", "food", "nature", "object", "travel"]


def test_features_are_the_same_alone_and_in_any_batch(extractor: IconsV1) -> None:
    images = shipped("heldout", 130)
    features = extractor.features(images)
    assert features.shape == (130, FEATURES)
    assert features.dtype == np.float64
    np.testing.assert_allclose(features[120:121], extractor.features(images[120:121]), atol=1e-4)
    np.testing.assert_array_equal(features, icons_v1().features(images))


def test_larger_pictures_are_brought_to_its_size(extractor: IconsV1) -> None:
    images = shipped("heldout", 50)
    large = extractor.features(images.repeat(4, axis=1).repeat(4, axis=2))
    first = nearest_concepts(large, extractor.features(images)[None])[:, 0]
    assert first.tolist() == list(range(50))


def altered(image: np.ndarray) -> np.ndarray:
    """Mirrored, made smaller, moved and a little blurred."""
    inner = ImageOps.mirror(Image.fromarray(image)).resize((54, 54), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (64, 64), "white")
    canvas.paste(inner, (7, 3))
    return np.asarray(canvas.filter(ImageFilter.GaussianBlur(0.7)))


def test_concepts_of_a_style_never_trained_on_are_told_apart(extractor: IconsV1) -> None:
    images = shipped("heldout", 100)
    again = extractor.features(np.stack([altered(image) for image in images]))
    first = nearest_concepts(again, extractor.features(images)[None])[:, 0]
    assert (first == np.arange(len(images))).mean() >= 0.9


@pytest.mark.parametrize("filter_of", [ImageFilter.GaussianBlur(2.0), ImageFilter.CONTOUR])
def test_damage_and_another_style_are_seen(extractor: IconsV1, filter_of: ImageFilter.Filter) -> None:
    images = shipped("heldout", 200)
    changed = np.stack([np.asarray(Image.fromarray(image).filter(filter_of)) for image in images[1::2]])
    real, other, worse = (extractor.features(pictures) for pictures in (images[::2], images[1::2], changed))
    low, _ = bootstrap_interval(real, worse, torch.Generator().manual_seed(1))
    assert kernel_distance(real, other) < low


def test_style_features_are_white_over_the_pictures_that_they_were_fitted_to() -> None:
    noise = torch.randn(300, 32, 6, 6, generator=torch.Generator().manual_seed(2))
    strokes = noise * torch.arange(1.0, 33.0)[:, None, None]
    style = Style()
    style.fit(strokes)
    features = style(strokes)
    torch.testing.assert_close(features.mean(dim=0), torch.zeros(64), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cov(features.T), torch.eye(64), atol=1e-3, rtol=0)


def test_its_layers_are_not_made_while_another_model_is() -> None:
    made = threading.Thread(target=icons_v1)
    with MAKING:
        made.start()
        made.join(0.3)
        assert made.is_alive()
    made.join()
