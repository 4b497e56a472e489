"""WD-style taggers: a real ONNX model of their form, tiny, made here; the large ones need the model hub."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fedflow.errors import MistakeError, ModelError
from fedflow.tagging.registry import open_tagger
from fedflow.tagging.wd import wd_tagger

TAGS = "tag_id,name,category,count\n1,general,9,5\n2,blue,0,5\n3,green,0,4\n4,red,0,3\n5,somebody,4,2\n"
SIDE = 448


def make_wd(folder: Path, batch: int | str = "n", tags: str = TAGS) -> Path:
    """A model whose scores are sigmoids of the mean of each channel: rating, first, second, third channel, third."""
    folder.mkdir(parents=True, exist_ok=True)
    weight = np.array([[0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0.5]], np.float32) * 8 / 255
    bias = np.array([9, -4, -4, -4, -3], np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "weight", "bias"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "wd",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, 5])],
        [
            numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(bias, "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "model.onnx")
    (folder / "selected_tags.csv").write_text(tags)
    return folder


def plain(red: int, green: int, blue: int, height: int = 10, width: int = 10) -> np.ndarray:
    return np.broadcast_to(np.array([red, green, blue], np.uint8), (1, height, width, 3)).copy()


@pytest.mark.parametrize("batch", ["n", 1, 2])
def test_channels_are_bgr_from_0_to_255_and_each_picture_has_its_own_tags(tmp_path: Path, batch: int | str) -> None:
    tagger = open_tagger(str(make_wd(tmp_path / "wd", batch)))
    pictures = np.concatenate([plain(255, 0, 0), plain(0, 0, 255), plain(0, 0, 0)])
    found = tagger.tags(pictures)
    assert [[name for name, _ in tags] for tags in found] == [["red"], ["blue"], []]
    assert found[0][0][1] == pytest.approx(1 / (1 + np.exp(-4)), abs=1e-3)


def test_a_picture_is_put_on_a_white_square(tmp_path: Path) -> None:
    (tags,) = wd_tagger(make_wd(tmp_path)).tags(plain(0, 0, 0, height=10, width=20), threshold=0.0)
    half_white = 1 / (1 + np.exp(-(8 * 0.5 - 4)))
    assert dict(tags)["green"] == pytest.approx(half_white, abs=0.02)


def test_characters_need_a_surer_score_and_ratings_are_left_out(tmp_path: Path) -> None:
    tagger = wd_tagger(make_wd(tmp_path) / "model.onnx")
    (tags,) = tagger.tags(plain(255, 255, 255))
    assert [name for name, _ in tags] == ["blue", "green", "red"]  # 'somebody' has 0.73
    (tags,) = tagger.tags(plain(255, 255, 255), threshold=0.99)
    assert tags == []


def test_what_is_no_tagger_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(MistakeError, match=r"tagger 'best': unknown; give icons-v1"):
        open_tagger("best")
    with pytest.raises(ModelError, match=r"no such file; give a tagger's \.onnx file"):
        open_tagger(str(tmp_path / "gone.onnx"))
    folder = make_wd(tmp_path / "wd")
    (folder / "selected_tags.csv").unlink()
    with pytest.raises(ModelError, match=r"selected_tags\.csv: is not there"):
        wd_tagger(folder)
    make_wd(folder, tags=TAGS.replace("3,green,0", "3,green,7"))
    with pytest.raises(ModelError, match="line 4 is no tag with category 0, 4 or 9"):
        wd_tagger(folder)
    make_wd(folder, tags="\n".join(TAGS.splitlines()[:-1]))
    with pytest.raises(ModelError, match=r"gives 5 scores, selected_tags\.csv has 4 tags"):
        wd_tagger(folder).tags(plain(0, 0, 0))
    (folder / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match="is no ONNX model that can be opened"):
        wd_tagger(folder)


def test_a_name_on_the_hub_that_is_not_here_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="nobody/tagger: not in the hub cache"):
        open_tagger("hub:nobody/tagger")
