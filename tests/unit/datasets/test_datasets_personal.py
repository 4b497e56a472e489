"""Personal data in captions, and what only looks like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedflow.datasets import read_folder
from fedflow.datasets.personal import Kind, Names, known_region, personal_data, read_names
from fedflow.errors import DatasetError
from fedflow.shipped import demo_folder

NAMES = Names(["Anna Kowalska", "Anna", "Léa", "Олена Петренко", "O'Brien", "  ", "Jean-Luc"])


def texts(caption: str, kind: Kind) -> list[str]:
    found = personal_data(caption, NAMES)
    assert all(caption[each.start : each.end] == each.text for each in found)
    return [each.text for each in found if each.kind == kind]


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("portrait, anna.k+x@mail.example.co.uk, smiling", ["anna.k+x@mail.example.co.uk"]),
        ("write to <o_b@studio.ua>.", ["o_b@studio.ua"]),
        ("пиши на олена@пошта.укр", ["олена@пошта.укр"]),
        ("@artist, @ home, a@b, icon@2x.png, (cat:1.2)@0.5, user@localhost", []),
    ],
)
def test_emails(caption: str, found: list[str]) -> None:
    assert texts(caption, Kind.EMAIL) == found


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("call +380 44 123 45 67 now", ["+380 44 123 45 67"]),
        ("044 123-45-67, cat", ["044 123-45-67"]),
        ("cat, 0671234567", ["0671234567"]),
        ("poster, (415) 555-2671, wall", ["(415) 555-2671"]),
        ("415-555-2671", ["415-555-2671"]),
        ("020 7946 0958", ["020 7946 0958"]),
        ("+48 22 123 45 67 and 06 12 34 56 78", ["+48 22 123 45 67", "06 12 34 56 78"]),
        ("06.12.34.56.78", ["06.12.34.56.78"]),
    ],
)
def test_telephones(caption: str, found: list[str]) -> None:
    assert texts(caption, Kind.TELEPHONE) == found


@pytest.mark.parametrize(
    "caption",
    [
        "1girl, 2boys, solo, 6+girls, score_9, 8k",
        "2024-01-15, 15.01.2024, 01/02/2024, 1999-2000",
        "2024-01-15 12:30:45",
        "01.02.2024 10:20",
        "1024x768, 3840x2160, 1920 1080, 512 x 512",
        "seed 1234567890, seed: 2125550123, 4155552671",
        "20240115123045, IMG_20230415_123456, DSC_0123456",
        "192.168.100.200, v1.2.3.4, 978-3-16-148410-0",
        "(blue eyes:1.25), 1/250, f2.8, iso 3200, 10.5 mm, 100 000 000",
        "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
    ],
)
def test_what_is_no_telephone_number(caption: str) -> None:
    assert personal_data(caption) == []


def test_regions_say_whose_numbers_are_known() -> None:
    caption = "call 22 123 45 67"
    assert personal_data(caption) == []
    assert [each.text for each in personal_data(caption, regions=["PL"])] == ["22 123 45 67"]
    assert personal_data("044 123-45-67", regions=[]) == []
    assert len(personal_data("+380 44 123 45 67", regions=[])) == 1
    assert known_region(" ua") == "UA"
    with pytest.raises(DatasetError, match="'XX': is no country's code"):
        known_region("XX")


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("Photo of ANNA_KOWALSKA, smiling", ["ANNA_KOWALSKA"]),
        ("anna, kowalska", ["anna"]),
        ("annabelle, susanna, savanna", []),
        ("le\u0301a and LÉA, lea", ["LÉA"]),
        ("олена петренко на пляжі, олена", ["олена петренко"]),
        ("o'brien, o\u2019brien", ["o'brien", "o\u2019brien"]),
        ("jean luc, jean-luc, jeanluc", ["jean luc", "jean-luc"]),
    ],
)
def test_names(caption: str, found: list[str]) -> None:
    assert texts(caption, Kind.NAME) == found


def test_all_kinds_from_left_to_right() -> None:
    found = personal_data("anna, a@b.de, +380 44 123 45 67", NAMES)
    assert [each.kind for each in found] == [Kind.NAME, Kind.EMAIL, Kind.TELEPHONE]


def test_the_owners_list(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\ufeff# who must not be named\nAnna\n\n  Bohdan K. \n", encoding="utf-8")
    names = read_names(path)
    assert [each.text for each in names.find("bohdan k, anna, who")] == ["bohdan k", "anna"]
    path.write_bytes(b"\xff")
    with pytest.raises(DatasetError, match="is not UTF-8"):
        read_names(path)
    with pytest.raises(DatasetError, match=r"none: cannot be read \(No such file"):
        read_names(tmp_path / "none")


def test_the_demo_captions_hold_nothing_personal() -> None:
    captions = [picture.caption for picture in read_folder(demo_folder(), 64).pictures]
    assert len(captions) == 400
    assert [caption for caption in captions if personal_data(caption)] == []
