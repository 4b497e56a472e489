"""The report, its chart and its gallery, from rows and pictures drawn here."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedflow.evaluation.charts import chart_caption, chart_png, chart_svg, dodge
from fedflow.evaluation.curves import curves_of
from fedflow.evaluation.gallery import gallery_columns, gallery_png, prompt_label
from fedflow.evaluation.report import result_sentences, write_report
from fedflow.evaluation.summary import GalleryStrip, RoundFacts, RunSummary
from fedflow.evaluation.table import Row

HOSTILE = "<script>alert('x')</script> & \"quoted\" $x^$"
LINKS = frozenset({"src", "href", "xlink:href", "srcset", "action", "data", "poster"})
CLIENTS = (("client-1", 20), ("client-2", 60))


class Page(HTMLParser):
    """What a page holds: its text, its links, its tags."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.source = path.read_text()
        self.feed(self.source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attributes if name in LINKS]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def drawn(path: Path, grey: int, side: int = 64) -> Path:
    Image.new("RGB", (side, side), (grey, 80, 200)).save(path)
    return path


def row(seed: int, number: int, participant: str, fid: float, kid: float, *, steps: int = 100) -> Row:
    return Row(seed, number, participant, 80, steps, fid, kid, kid - 0.01, kid + 0.01)


@pytest.fixture
def summary(tmp_path: Path) -> RunSummary:
    rows = [row(1, 0, "base", 98.44, 0.31), row(1, 0, "floor", 20.12, 0.001)]
    strips = [GalleryStrip(1, 0, "base", (drawn(tmp_path / "b0.png", 10), drawn(tmp_path / "b1.png", 20)))]
    for number, fid in ((1, 72.51), (2, 61.23)):
        rows += [row(1, number, name, fid + 9, 0.22) for name, _ in CLIENTS]
        rows.append(row(1, number, "aggregated", fid, fid / 500, steps=100 * number))
        for shade, name in enumerate(("aggregated", "client-1", "client-2")):
            pictures = [drawn(tmp_path / f"{name}-{number}-{prompt}.png", 40 * shade + number) for prompt in (0, 1)]
            strips.append(GalleryStrip(1, number, name, tuple(pictures)))
    rows += [row(1, 2, "central", 55.07, 0.1, steps=200), row(1, 2, "alone-1", 80.5, 0.2)]
    strips.append(GalleryStrip(1, 2, "central", (drawn(tmp_path / "c0.png", 200), drawn(tmp_path / "c1.png", 210))))
    return RunSummary(
        name="icons",
        method="fedex-lora",
        weighting="samples",
        model="starter",
        num_rounds=2,
        plan_text='name = "icons"\n',
        extractor="icons-v1",
        resize="64x64, antialiased bilinear",
        num_heldout=200,
        sampler_text="DPM++ 2M, 10 steps, guidance 3",
        clients=CLIENTS,
        rows=tuple(rows),
        kid_gain=(0.1502, 0.2248),
        facts=tuple(RoundFacts(1, number, 4_320_000, 21_310_000, 0.294, 16, 0.0, 2.1e-7, 34.0) for number in (1, 2)),
        prompts=("fluent_style, red_apple, red, food", "fluent_style, bee, nature"),
        gallery=tuple(strips),
        real=(drawn(tmp_path / "real.png", 255), None),
        seconds=214.0,
        machine="Linux, 2 cores",
        started="2026-11-22T13:54:11+00:00",
    )


def report(summary: RunSummary, folder: Path) -> Page:
    write_report(folder / "report.html", summary)
    return Page(folder / "report.html")


def test_page_requests_nothing(summary: RunSummary, tmp_path: Path) -> None:
    page = report(summary, tmp_path)
    assert page.links
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    assert not re.search(r"@import|url\((?!#)", page.source)
    assert page.tags.count("script") == 1
    assert "default-src 'none'" in page.source


def test_page_says_the_result(summary: RunSummary, tmp_path: Path) -> None:
    text = report(summary, tmp_path).text
    assert (
        "After 2 rounds the joint model's FID is 61.2, against 98.4 for the untuned base and 20.1 for real against "
        "real (icons-v1, N = 200)."
    ) in text
    assert (
        "Its KID is 0.1225 against 0.3100 for the untuned base, 0.1875 lower; "
        "the 95% interval of that difference, 0.1502 to 0.2248, excludes 0."
    ) in text
    assert "for as many steps, gives an FID of 55.1." in text
    assert "2 of 2 rounds done" in text
    assert "22 November 2026, 13:54 UTC" in text
    assert "3 min 34 s" in text


def test_a_floor_is_named_only_where_there_is_one(summary: RunSummary, tmp_path: Path) -> None:
    assert "the untuned base and real pictures against real ones, the floor" in report(summary, tmp_path).text
    without = replace(summary, rows=tuple(row for row in summary.rows if row.participant != "floor"))
    text = report(without, tmp_path).text
    assert "dashed is the untuned base." in text
    assert "floor" not in text.lower()


def test_page_holds_the_figures(summary: RunSummary, tmp_path: Path) -> None:
    text = report(summary, tmp_path).text
    assert "1 81.51 81.51 72.51 2 70.23 70.23 61.23 Central, on all 80 pictures 55.07" in text
    assert "3 160.48 150.50 135.77 152.39 157.26 133.85 Central, on all 200 pictures 124.34" in text
    assert "measured on other data with another extractor; the two cannot be compared, only their shape" in text
    assert "client-2 60 75.0%" in text
    assert "1 4.32 21.31 34 s" in text
    assert "This run (icons-v1, N = 200)" in text
    assert "one's added to the other's" in text
    assert "the whole run took 3 min 34 s" in text
    assert "1 29.4% 2.1 × 10⁻⁷ 16" in text  # noqa: RUF001


def test_gallery_shows_each_picture_once_per_place(summary: RunSummary, tmp_path: Path) -> None:
    page = report(summary, tmp_path)
    # Per prompt: base, two rounds of three views, central; one of two real pictures; the slider's two are empty.
    pictures = [link for link in page.links if link.startswith("data:image/png")]
    assert len(pictures) == 2 * (1 + 2 * 3 + 1) + 1
    assert page.source.count(': real: no picture"') == 1
    assert page.tags.count("input") == 3 + 1


def test_hostile_words_stay_words(summary: RunSummary, tmp_path: Path) -> None:
    hostile = replace(
        summary,
        name=HOSTILE,
        plan_text=HOSTILE,
        prompts=(HOSTILE, HOSTILE),
        clients=((HOSTILE, 20), ("client-2", 60)),
        rows=tuple(replace(one, participant=HOSTILE) if one.participant == "client-1" else one for one in summary.rows),
        gallery=tuple(
            replace(one, participant=HOSTILE) if one.participant == "client-1" else one for one in summary.gallery
        ),
    )
    page = report(hostile, tmp_path)
    assert page.tags.count("script") == 1
    assert "<script>alert" not in page.source
    assert HOSTILE in page.text
    gallery_png(tmp_path / "gallery.png", hostile)
    chart_png(tmp_path / "chart.png", hostile)


def test_parts_that_are_missing_are_left_out(summary: RunSummary, tmp_path: Path) -> None:
    kept = tuple(one for one in summary.rows if one.participant in ("base", "aggregated") and one.round < 2)
    facts = (replace(summary.facts[0], naive_error=None, residual_rank=None, discarded_energy=None, exact_error=None),)
    bare = replace(
        summary, method="fedavg", rows=kept, facts=facts, prompts=(), gallery=(), real=(), started="yesterday"
    )
    text = report(bare, tmp_path).text
    assert "After 1 of 2 rounds the joint model's FID is 72.5, against 98.4 for the untuned base (icons-v1" in text
    assert "Aggregation error" not in text
    assert "never federated" not in text
    assert "Pictures 200 held-out" in text
    assert "yesterday" in text


def test_nothing_scored_yet(summary: RunSummary, tmp_path: Path) -> None:
    empty = replace(summary, rows=(), facts=(), gallery=())
    page = report(empty, tmp_path)
    assert "No round has been scored yet." in page.text
    assert "0 of 2 rounds done" in page.text
    chart_png(tmp_path / "chart.png", empty)
    assert Image.open(tmp_path / "chart.png").convert("L").getextrema()[0] < 128  # its frame and its words


def test_several_seeds_give_mean_and_spread(summary: RunSummary, tmp_path: Path) -> None:
    second = tuple(replace(one, seed=2, fid=one.fid + 2) for one in summary.rows)
    page = report(replace(summary, rows=summary.rows + second), tmp_path)
    # 61.23 and 63.23: mean 62.23, standard deviation 1.41.
    assert "the joint model's FID is 62.2 ± 1.4" in page.text
    assert "62.23 ± 1.41" in page.text
    assert "mean of 2 seeds" in page.text


@pytest.mark.parametrize(
    ("kid", "gain", "words"),
    [
        # Lower by 0.2, though the two intervals of 0.01 around each say nothing of the pair: its own interval speaks.
        (
            0.1,
            (-0.05, 0.4),
            "0.2000 lower; the 95% interval of that difference, \N{MINUS SIGN}0.0500 to 0.4000, includes",
        ),
        (
            0.31,
            (-0.03, 0.01),
            "0.0100 higher; the 95% interval of that difference, \N{MINUS SIGN}0.0100 to 0.0300, inc",
        ),
        (0.299, (0.0004, 0.002), "0.0010 lower; the 95% interval of that difference, 0.0004 to 0.0020, excludes 0."),
        (
            0.9,
            (-0.8, -0.5),
            "0.6000 higher; the 95% interval of that difference, 0.5000 to 0.8000, excludes 0: it is fur",
        ),
        (0.9, None, "Its KID is 0.9000 against 0.3000 for the untuned base."),
    ],
)
def test_result_claims_no_more_than_the_figures(
    summary: RunSummary, kid: float, gain: tuple[float, float] | None, words: str
) -> None:
    rows = (row(1, 0, "base", 98.4, 0.3), row(1, 2, "aggregated", 97.0, kid))
    sentences = result_sentences(replace(summary, rows=rows, kid_gain=gain))
    assert len(sentences) == 2
    assert words in sentences[1]


def test_interval_of_the_last_round_is_not_told_of_an_earlier_one(summary: RunSummary) -> None:
    rows = tuple(one for one in summary.rows if one.round < 2)
    assert "interval" not in " ".join(result_sentences(replace(summary, rows=rows)))


def test_picture_that_is_broken_or_gone_leaves_its_place_empty(summary: RunSummary, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(drawn(tmp_path / "whole.png", 1).read_bytes()[:60])
    strips = (GalleryStrip(1, 0, "base", (broken, tmp_path / "gone.png")), *summary.gallery[1:])
    spoilt = replace(summary, gallery=strips)
    assert report(spoilt, tmp_path).source.count(': base: no picture"') == 2
    gallery_png(tmp_path / "gallery.png", spoilt)


def test_large_pictures_are_put_in_smaller(summary: RunSummary, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    large = replace(summary, real=(tmp_path / "large.png", None))
    jpegs = [link for link in report(large, tmp_path).links if link.startswith("data:image/jpeg")]
    assert len(jpegs) == 1
    assert len(jpegs[0]) < 200_000 < (tmp_path / "large.png").stat().st_size


def test_gallery_png_holds_the_pictures_in_their_places(summary: RunSummary, tmp_path: Path) -> None:
    assert [column.title for column in gallery_columns(summary)] == ["real", "base", "round 1", "round 2", "central"]
    gallery_png(tmp_path / "gallery.png", summary)
    picture = np.asarray(Image.open(tmp_path / "gallery.png"))
    # 1.5 pixels a unit: edges of 24, a label of 128, tiles of 96 with gaps of 8, a head of 32.
    assert picture.shape == (1.5 * (48 + 32 + 2 * 104 - 8), 1.5 * (48 + 128 + 5 * 104 - 8), 3)
    row_middle = round(1.5 * (24 + 32 + 48))
    reds = [picture[row_middle, round(1.5 * (24 + 128 + index * 104 + 48)), 0] for index in range(5)]
    assert reds == [255, 10, 1, 2, 200]


def test_many_rounds_are_thinned_out(summary: RunSummary) -> None:
    strips = tuple(GalleryStrip(1, number, "aggregated", ()) for number in range(1, 101))
    titles = [column.title for column in gallery_columns(replace(summary, gallery=strips, real=()))]
    assert titles == ["round 1", "round 21", "round 41", "round 60", "round 80", "round 100"]


def test_prompt_labels() -> None:
    prompts = ("fluent_style, red_apple, red, food", "fluent_style, bee")
    assert prompt_label(prompts[0], prompts) == ("red apple", "food")
    assert prompt_label(prompts[1], prompts) == ("bee", "")
    assert prompt_label("a cat, sleeping", ("a cat, sleeping",)) == ("a cat", "sleeping")
    assert prompt_label(" , ", (" , ",)) == (" , ", "")


def test_chart_png_is_not_blank_and_always_the_same(summary: RunSummary, tmp_path: Path) -> None:
    chart_png(tmp_path / "one.png", summary)
    chart_png(tmp_path / "two.png", summary)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    picture = np.asarray(Image.open(tmp_path / "one.png").convert("RGB"))
    accent = (picture == (0x34, 0x54, 0xD1)).all(axis=2)
    # 2 pixels a unit: panels of 440 by 300 side by side, edges of 16, and 30 below them for the caption.
    assert picture.shape == (660, 1824, 3)
    assert picture[600:].min() < 128
    half = picture.shape[1] // 2
    assert accent[:, :half].sum() > 500
    assert accent[:, half:].sum() > 500


def test_chart_caption_names_extractor_resize_and_number(summary: RunSummary) -> None:
    assert chart_caption(summary).startswith("icons-v1, pictures resized to 64x64, antialiased bilinear, N = 200;")
    second = tuple(replace(one, seed=2) for one in summary.rows)
    assert "N = 200, mean of 2 seeds;" in chart_caption(replace(summary, rows=summary.rows + second))


def test_clients_differ_in_colour_and_mark(summary: RunSummary) -> None:
    clients = tuple((f"client-{number}", 20) for number in range(1, 6))
    rows = tuple(row(1, number, name, 60.0 + number, 0.2) for number in (1, 2) for name, _ in clients)
    drawing = chart_svg(curves_of(replace(summary, clients=clients, rows=rows), "fid"))
    for number in range(1, 6):
        assert drawing.count(f"var(--chart-client-{number}, ") >= 3  # line, leader and mark
    shapes = set(re.findall(r'<path id="fid-m\w+" d="([^"]+)"', drawing))
    assert len(shapes) == 5


def test_chart_svg_takes_the_page_colours(summary: RunSummary) -> None:
    drawing = chart_svg(curves_of(summary, "fid"))
    assert drawing == chart_svg(curves_of(summary, "fid"))
    assert "var(--chart-accent, #3454d1)" in drawing
    assert ">aggregated 61.2</text>" in drawing
    assert not set(re.findall(r'\bid="([^"]+)"', drawing)) & set(
        re.findall(r'\bid="([^"]+)"', chart_svg(curves_of(summary, "kid")))
    )


def test_labels_keep_their_distance() -> None:
    assert dodge([1.0, 5.0, 9.0], 2.0, 0.0, 10.0) == [1.0, 5.0, 9.0]
    # 4 and 5 want to be 2 apart: each gives way by a half.
    assert dodge([5.0, 4.0], 2.0, 0.0, 10.0) == [5.5, 3.5]
    assert dodge([9.5, 9.0, 0.0], 2.0, 0.0, 10.0) == [10.0, 8.0, 0.0]
    assert dodge([5.0, 5.0, 5.0], 8.0, 0.0, 10.0) == [0.0, 5.0, 10.0]
    assert dodge([], 1.0, 0.0, 1.0) == []
