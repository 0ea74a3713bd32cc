"""Boxes of clusters: rotations, images and slacks against exact fractions."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fastpath.core.bounds.softmax import ARITHMETIC, product_error, rounding_logit
from fastpath.decoding import boxes
from fastpath.decoding.boxes import Boxes, Rotation, slack_of

TYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def exactly(x: Any) -> Any:
    return np.array([Fraction(float(a)) for a in np.ravel(x)], object).reshape(np.shape(x))


def square(x: Any) -> Fraction:
    return Fraction((x**2).sum())


def keys(dtype: Any, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((60, 5)) * np.r_[9, 4, 2, 1, 0.1] + 3).astype(dtype)


@TYPES
def test_a_rotation_says_how_far_it_is_from_one(dtype: Any) -> None:
    for matrix in (Rotation.of(keys(dtype)).matrix, np.eye(3, dtype=dtype) * dtype(0.75)):
        rotation, M = Rotation(matrix), exactly(matrix)
        assert Fraction(rotation.defect) ** 2 >= square(M @ M.T - np.eye(len(M), dtype=int))
    assert rotation.defect <= 0.8
    assert Rotation.of(keys(dtype)).defect <= 64 * np.finfo(dtype).eps


def test_axes_are_not_those_of_keys_that_stand_in_like_places() -> None:
    """Catches: a covariance of every so many keys, which in windows of a text are all their first."""
    d, n = 6, 16 * boxes.COVARIANCE_ROWS
    direction = np.ones(d) / np.sqrt(d)
    k = np.linspace(-1, 1, n)[:, None] * direction
    for period in (4, 8, 16):
        windows = k.copy()
        windows[::period] = np.eye(d)[0]
        axes = Rotation.of(windows).matrix
        assert np.abs(axes.T @ direction).argmax() == d - 1


@TYPES
def test_an_image_errs_by_no_more_than_is_said(dtype: Any) -> None:
    rotation = Rotation.of(keys(dtype))
    for x in keys(dtype, 1):
        length = float(np.nextafter(np.linalg.norm(x.astype(float)), np.inf))
        error = exactly(x @ rotation.matrix) - exactly(x) @ exactly(rotation.matrix)
        assert square(error) <= Fraction(rotation.image_error(length)) ** 2


@TYPES
def test_every_image_lies_in_its_box(dtype: Any) -> None:
    k = keys(dtype)
    rotation = Rotation.of(k)
    found, order = Boxes.of(k, rotation)
    images = (k @ rotation.matrix)[order]
    of = np.repeat(np.arange(len(found.sizes)), found.sizes)
    middles, halves = exactly(found.middles)[of], exactly(found.halves)[of]
    assert (abs(exactly(images) - middles) <= halves).all()
    assert found.middles.dtype == found.halves.dtype == dtype
    assert max(map(square, exactly(k))) <= Fraction(found.longest_key) ** 2
    assert max(map(square, abs(middles) + halves)) <= Fraction(found.extent) ** 2
    assert sorted(order) == list(range(len(k)))


@TYPES
def test_a_slack_has_every_term_of_the_theorem(dtype: Any) -> None:
    """I.box's expression, computed anew; without a term it would be smaller by more than a tenth of it."""
    rotation = Rotation.of(keys(dtype))
    u, tiny = (ARITHMETIC[np.dtype(dtype).name][x] for x in ("unit_roundoff", "tiny"))
    query, image, key, extent = 3.0, 2.5, 7.0, 11.0
    size = float(np.linalg.norm(rotation.matrix))
    of_key, of_query = (product_error(5, u, x, size, 5, tiny) for x in (key, query))
    terms = (
        rounding_logit(10, u, image * extent, tiny),
        rotation.defect * query * key,
        image * of_key,
        of_query * (extent + of_key),
    )
    slack, reach = slack_of(rotation, query, image, key, extent)
    assert reach >= image * extent
    assert sum(terms) * (1 - 4 * u) <= slack <= sum(terms) + min(terms) / 10
