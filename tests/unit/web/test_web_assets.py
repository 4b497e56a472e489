"""Vendored files are what the manifest says, nothing names another origin, and addresses hold the content's hash."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

import pytest
from flask import Flask
from hatchling.builders.wheel import WheelBuilder

import fedflow.web
from fedflow import web
from fedflow.web.assets import FOREVER, Assets

ROOM = Path(fedflow.web.__file__).parent
STATIC = ROOM / "static"
VENDOR = STATIC / "vendor"
TESTS_VENDOR = Path(__file__).parents[2] / "support" / "vendor"
OTHER_ORIGIN = re.compile(r"""(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}""", re.IGNORECASE)
NAMESPACE = "http://www.w3.org/2000/svg"


@pytest.mark.parametrize(
    ("vendor", "licences"),
    [(VENDOR, {"0BSD", "MIT", "OFL-1.1"}), (TESTS_VENDOR, {"MPL-2.0"})],
    ids=["of the pages", "of the tests"],
)
def test_vendored_files_are_those_of_the_manifest(vendor: Path, licences: set[str]) -> None:
    entries = json.loads((vendor / "manifest.json").read_text(encoding="utf-8"))
    said = {path: sha256 for entry in entries for path, sha256 in entry["files"].items()}
    here = {
        path.relative_to(vendor).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in vendor.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert here == said
    for entry in entries:
        assert entry["licence"] in licences
        assert re.fullmatch(r"\d+\.\d+\.\d+", entry["version"])
        assert entry["source"].startswith("https://")
        assert any(path.endswith("LICENSE.txt") for path in entry["files"]), entry["name"]


def test_nothing_of_ours_names_another_origin() -> None:
    files = [*ROOM.rglob("*.html"), *STATIC.glob("*.css"), *STATIC.glob("*.js"), *STATIC.glob("*.svg")]
    assert len(files) > 15
    for path in files:
        text = path.read_text(encoding="utf-8").replace(NAMESPACE, "")
        assert not OTHER_ORIGIN.findall(text), path
        assert "@import" not in text, path


def test_no_template_holds_inline_script_or_style() -> None:
    for path in ROOM.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", text), path


def test_every_file_that_a_stylesheet_names_is_there() -> None:
    named = [
        (path, name)
        for path in STATIC.glob("*.css")
        for name in re.findall(r'url\("([^"]+)"\)', path.read_text(encoding="utf-8"))
    ]
    assert len(named) == 3
    for path, name in named:
        assert (path.parent / name).is_file(), name


def test_the_wheel_takes_static_files_templates_and_catalogues_along() -> None:
    root = ROOM.parents[2]
    packed = {file.distribution_path for file in WheelBuilder(str(root)).recurse_included_files()}
    wanted = {
        f"fedflow/{path.relative_to(ROOM.parent).as_posix()}"
        for path in ROOM.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"fedflow/web/static/vendor/htmx/htmx.min.js", "fedflow/web/templates/web/base.html"} <= wanted
    assert "fedflow/web/translations/uk/LC_MESSAGES/messages.mo" in wanted
    assert wanted <= packed


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    (tmp_path / "own.css").write_text("a{}", encoding="utf-8")
    (tmp_path / "secret.toml").write_text("no", encoding="utf-8")
    app = Flask("assets", root_path=str(tmp_path), static_folder=None)
    web.set_up(app, web.Shell("FedFlow", list), static={"app": tmp_path})
    return app


def test_an_address_of_this_version_is_kept_forever_and_another_not(app: Flask, tmp_path: Path) -> None:
    version = Assets({"web": STATIC, "app": tmp_path}).version
    client = app.test_client()
    kept = client.get(f"/assets/{version}/web/tokens.css")
    assert (kept.status_code, kept.headers["Cache-Control"]) == (200, FOREVER)
    assert kept.headers["Content-Type"] == "text/css; charset=utf-8"
    assert kept.headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in kept.headers
    older = client.get("/assets/0123456789abcdef/app/own.css")
    assert (older.status_code, older.headers["Cache-Control"], older.data) == (200, "no-store", b"a{}")


def test_texts_are_compressed_for_who_can_read_it(app: Flask) -> None:
    client = app.test_client()
    plain = client.get("/assets/any/web/base.css")
    packed = client.get("/assets/any/web/base.css", headers={"Accept-Encoding": "br, gzip"})
    assert (plain.headers.get("Content-Encoding"), packed.headers["Content-Encoding"]) == (None, "gzip")
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(packed.data) == plain.data
    font = client.get("/assets/any/web/vendor/inter/inter-latin-wght-normal.woff2", headers={"Accept-Encoding": "gzip"})
    assert font.data[:4] == b"wOF2"


@pytest.mark.parametrize(
    "name", ["app/secret.toml", "app/../secret.toml", "web/../kit.py", "web/%2e%2e/kit.py", "web/nothing.css", "web/"]
)
def test_only_the_known_files_are_served(app: Flask, name: str) -> None:
    assert app.test_client().get(f"/assets/any/{name}").status_code == 404


def test_the_version_follows_content_and_name(tmp_path: Path) -> None:
    versions = set()
    for name, content in (("a.css", "1"), ("a.css", "2"), ("b.css", "2")):
        folder = tmp_path / f"{name}-{content}"
        folder.mkdir()
        (folder / name).write_text(content, encoding="utf-8")
        versions.add(Assets({"x": folder}).version)
    assert len(versions) == 3
