"""The table's file and the shape of the paper's Table 1."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedflow.errors import StorageError
from fedflow.evaluation.table import REFERENCE_TABLE, Figure, Row, paper_table, write_table

ROWS = (
    Row(1, 0, "base", 0, 0, 98.4, 0.25, 0.2, 0.3),
    Row(1, 1, "studio, north", 20, 10, 80.0, 0.125, 0.1, 0.15),
    Row(1, 1, "aggregated", 60, 30, 60.0, -0.0000125, -0.001, 0.001),
    Row(2, 1, "studio, north", 20, 10, 84.0, 0.125, 0.1, 0.15),
    Row(2, 1, "aggregated", 60, 30, 62.0, 0.05, 0.04, 0.06),
    Row(1, 2, "aggregated", 60, 60, 50.5, 0.04, 0.03, 0.05),
    Row(1, 2, "central", 60, 60, 48.25, 0.03, 0.02, 0.04),
    Row(1, 2, "alone-1", 20, 20, 90.0, 0.2, 0.1, 0.3),
    Row(1, 0, "floor", 60, 0, 20.1, 0.0, -0.01, 0.01),
)


def test_file_is_this(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv", ROWS)
    assert (tmp_path / "table.csv").read_bytes().decode() == (
        "seed,round,participant,examples,steps,fid,kid,kid_low,kid_high\n"
        "1,0,base,0,0,98.400000,0.250000,0.200000,0.300000\n"
        "1,0,floor,60,0,20.100000,0.000000,-0.010000,0.010000\n"
        '1,1,"studio, north",20,10,80.000000,0.125000,0.100000,0.150000\n'
        "1,1,aggregated,60,30,60.000000,-0.000013,-0.001000,0.001000\n"
        "1,2,aggregated,60,60,50.500000,0.040000,0.030000,0.050000\n"
        "1,2,central,60,60,48.250000,0.030000,0.020000,0.040000\n"
        "1,2,alone-1,20,20,90.000000,0.200000,0.100000,0.300000\n"
        '2,1,"studio, north",20,10,84.000000,0.125000,0.100000,0.150000\n'
        "2,1,aggregated,60,30,62.000000,0.050000,0.040000,0.060000\n"
    )


def test_no_rows_leave_the_head(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv", ())
    assert (tmp_path / "table.csv").read_text() == "seed,round,participant,examples,steps,fid,kid,kid_low,kid_high\n"


def test_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(StorageError, match="runs"):
        write_table(tmp_path / "runs" / "table.csv", ROWS)


def test_paper_table_takes_means_over_seeds() -> None:
    table = paper_table(ROWS)
    assert table.clients == ("studio, north",)
    # 80 and 84: mean 82, squared differences 4 + 4 over n - 1 = 1; 60 and 62: 1 + 1.
    assert table.lines[0] == (1, (Figure(82.0, pytest.approx(8**0.5)),), Figure(61.0, pytest.approx(2**0.5)))
    assert table.lines[1] == (2, (None,), Figure(50.5, None))
    assert table.central == Figure(48.25, None)


def test_paper_table_of_nothing() -> None:
    assert paper_table(()).lines == ()
    assert paper_table(()).central is None


def test_published_figures() -> None:
    number, clients, aggregated = REFERENCE_TABLE.lines[2]
    assert number == 3
    assert [figure.mean for figure in clients if figure] == [160.48, 150.50, 135.77, 152.39, 157.26]
    assert aggregated == Figure(133.85)
    assert REFERENCE_TABLE.central == Figure(124.34)
