"""What is hidden is not computed: scores are counted, not timed, at the sizes that are spoken of."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastpath
from fastpath.exact import attention as forward
from fastpath.exact import gradient as backward

QUERIES, WINDOW = 16_384, 512

WAYS: dict[str, Callable[..., Any]] = {
    "attention": fastpath.attention,
    "attention_gradient": lambda *x, **options: fastpath.attention_gradient(*x, x[2], **options),
    "certified_attention": lambda *x, **options: fastpath.certified_attention(
        *x, tolerance=0.5, **options
    ),
}


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the scores of every tile that is computed."""
    sizes: list[int] = []
    tiles, scored = forward._tiles, backward._Back._scored

    def counted(*arguments: Any) -> Any:
        for tile in tiles(*arguments):
            sizes.append(tile[2].size)
            yield tile

    def counted_scores(self: Any) -> Any:
        for tile in scored(self):
            sizes.append(tile.weights.size)
            yield tile

    monkeypatch.setattr(forward, "_tiles", counted)
    monkeypatch.setattr(backward._Back, "_scored", counted_scores)
    return sizes


def _arrays(n: int, of: int | None = None) -> Any:
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal((rows, 1), dtype=np.float32) for rows in (of or n, n, n))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "options",
    [
        {"causal": True, "window": (WINDOW - 1, None)},
        {"window": (WINDOW // 2, WINDOW // 2 - 1)},
    ],
    ids=["causal", "both sides"],
)
def test_a_window_of_512_computes_what_is_visible(
    way: str, options: Any, computed: list[int]
) -> None:
    """A query computes the tiles that its keys lie in, of which some begin before them or end after."""
    WAYS[way](*_arrays(QUERIES), workers=1, **options)
    visible = (
        QUERIES * WINDOW - WINDOW**2 // 2
    )  # at least: the first and last queries see fewer keys
    rounded_up = QUERIES * (WINDOW + max(forward.KEY_BLOCK, backward.KEY_BLOCK))
    assert visible <= sum(computed) <= rounded_up


def test_rows_that_certify_draws_compute_what_they_see(computed: list[int]) -> None:
    Q, K, V = _arrays(QUERIES)
    found = fastpath.certify(
        Q,
        K,
        V,
        np.zeros_like(V),
        rng=np.random.default_rng(0),
        workers=1,
        window=(WINDOW // 2, WINDOW // 2 - 1),
    )
    assert 0 < found.rows_checked < QUERIES
    assert 0 < sum(computed) <= found.rows_checked * (WINDOW + 2 * forward.KEY_BLOCK)


@pytest.mark.parametrize("queries", [1, 7, 300])
def test_few_queries_of_a_window_compute_what_they_see(queries: int, computed: list[int]) -> None:
    fastpath.attention(*_arrays(QUERIES, queries), window=(WINDOW - 1, 0), workers=1)
    assert 0 < sum(computed) <= queries * (WINDOW + queries + 2 * forward.KEY_BLOCK)


@pytest.mark.parametrize("way", WAYS)
def test_a_mask_of_blocks_computes_the_blocks_that_it_shows(way: str, computed: list[int]) -> None:
    shown = np.eye(4, dtype=bool)[:, :, None, None]
    size = forward.QUERY_BLOCK
    mask = np.broadcast_to(shown, (4, 4, size, size)).transpose(0, 2, 1, 3).reshape(4 * size, -1)
    WAYS[way](*_arrays(4 * size), workers=1, mask=mask)
    assert 0 < sum(computed) <= mask.sum()
