"""Whoever runs the server brings a model and an adapter in from its machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.server.import_setting import kohya_file

from fedflow.cli.bring_in import bring_in
from fedflow.cli.server import settings_of
from fedflow.errors import MistakeError
from fedflow.server.services import registry
from fedflow.server.services.identity import SERVER
from fedflow.server.store import open_store


def test_a_model_and_its_adapter_come_in(
    tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(folder=tmp_path / "data")
    lora = tmp_path / "foxes.safetensors"
    lora.write_bytes(kohya_file(tiny_model_folder))
    bring_in(settings, "tiny", str(tiny_model_folder), kind="model", base=None, hub=False, federation=None)
    assert 'A run starts from it with model = "registry:tiny".' in capsys.readouterr().out
    bring_in(settings, "foxes", str(lora), kind="adapter", base="tiny", hub=False, federation="federation")
    store = open_store(settings)
    [artifact] = registry.artifacts(store, SERVER, registry.ADAPTER, "", 10)
    [version] = registry.versions(store, SERVER, artifact.id, 0, 10)
    assert [each.name for _, each in registry.lineage(store, SERVER, version.id)] == ["foxes", "tiny"]
    store.engine.dispose()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source": "nowhere"}, "no such file or folder; check the path"),
        ({"kind": "vae"}, "--kind vae: is none of model, adapter"),
        ({"base": "giant"}, "--base giant: the federation has no such model"),
        ({"federation": "other"}, "--federation other: the server has federation"),
    ],
)
def test_a_mistake_is_one_line(given: dict[str, str], message: str, tmp_path: Path) -> None:
    settings = settings_of(folder=tmp_path / "data")
    told = {"name": "x", "source": __file__, "kind": "adapter", "base": None, "federation": None, **given}
    with pytest.raises(MistakeError, match=message) as raised:
        bring_in(settings, hub=False, **told)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
