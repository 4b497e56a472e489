"""Aspect-ratio buckets."""

from __future__ import annotations

import pytest

from fedflow.datasets.buckets import Bucket, Share, bucket_of, buckets_for, cut_off, shares


def test_buckets_of_a_small_model() -> None:
    """4096 pixels in multiples of 16: 48x80 is 3840, and nothing wider with 48 fits."""
    assert [str(bucket) for bucket in buckets_for(64, 16)] == ["32x96", "48x80", "64x64", "80x48", "96x32"]


def test_buckets_keep_area_unit_and_aspect() -> None:
    found = buckets_for(512)
    assert {Bucket(512, 512), Bucket(576, 448), Bucket(448, 576), Bucket(768, 320), Bucket(320, 768)} <= set(found)
    for bucket in found:
        assert bucket.width % 64 == bucket.height % 64 == 0
        assert bucket.width * bucket.height <= 512 * 512
        assert 1 / 3 <= bucket.width / bucket.height <= 3
        assert Bucket(bucket.height, bucket.width) in found
    assert list(found) == sorted(found, key=lambda bucket: bucket.width / bucket.height)
    assert buckets_for(70, 64) == (Bucket(64, 64),)
    with pytest.raises(ValueError, match="unit 64: must be 1 to 32, the size"):
        buckets_for(32)


def test_the_nearest_aspect() -> None:
    found = buckets_for(512)
    assert bucket_of(4000, 4000, found) == Bucket(512, 512)
    assert bucket_of(400, 300, found) == Bucket(576, 448)
    assert bucket_of(300, 400, found) == Bucket(448, 576)
    assert bucket_of(10_000, 100, found) == max(found, key=lambda bucket: bucket.width / bucket.height)


def test_what_is_cut_off() -> None:
    assert cut_off(200, 100, Bucket(512, 512)) == pytest.approx(0.5)
    assert cut_off(100, 200, Bucket(64, 128)) == pytest.approx(0.0)
    assert cut_off(300, 200, Bucket(64, 64)) == pytest.approx(1 / 3)


def test_shares() -> None:
    found = (Bucket(64, 128), Bucket(64, 64), Bucket(128, 64))
    assert shares([(200, 100), (300, 150), (10, 10)], found) == [
        Share(Bucket(128, 64), 2, pytest.approx(0.0), pytest.approx(0.5)),
        Share(Bucket(64, 64), 1, 0.0, 0.0),
    ]
    assert shares([], found) == []
