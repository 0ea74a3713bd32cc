"""Heavy keys: terms of the certificate of a leverage, of the powers and of the merged matrix, left out."""

from functools import partial

from tests.mutants.runner import Mutant

HEAVY = "tests/fastpath/sparsification/test_heavy_keys.py"
SCORES = f"{HEAVY}::test_scores_bound_exact_leverages_and_are_not_much_larger"
QUERIES = f"{HEAVY}::test_no_query_exceeds_a_score"
SHARDS = f"{HEAVY}::test_shards_merge_to_the_scores_of_all_keys"
LOSS = f"{HEAVY}::test_the_loss_of_a_gram_matrix_bounds_what_was_lost"

_heavy = partial(Mutant, file="fastpath/sparsification/heavy_keys.py")
_exact = partial(Mutant, file="fastpath/sparsification/exact_leverage.py")

MUTANTS = (
    _heavy(
        before="    heavy = np.flatnonzero(scores >= least)\n",
        after="    heavy = np.flatnonzero(scores > least)\n",
        tests=f"{HEAVY}::test_most_keys_are_reached",
        catches="keys of a score that is epsilon",
    ),
    _heavy(
        before="    bounds: Array = leverage_certificate(lengths, errors, defect, error)\n",
        after="    bounds: Array = leverage_certificate(lengths, errors, 0.0, error)\n",
        tests=SCORES,
        catches="how far from orthonormal the products are",
    ),
    _heavy(
        before="    defect = up(up(norms.norm(E - np.eye(len(E)))) + lost)\n",
        after="    defect = lost\n",
        tests=SCORES,
        catches="the computed defect",
    ),
    _heavy(
        before="        errors[part] = up(lost + ",
        after="        errors[part] = 0 * up(lost + ",
        tests=f"{HEAVY}::test_errors_of_products_bound_what_rounding_did",
        catches="the rows' rounding",
    ),
    _heavy(
        before="once = np.where(counts == 1, 1.0, up(1 / counts))",
        after="once = 1.0 / (counts + 1)",
        tests=f"{HEAVY}::test_dependent_keys_that_are_too_many_for_integers_are_all_kept",
        catches="the share of equal keys",
    ),
    _heavy(
        before="np.ldexp(g.matrix, _shifts(g.exponents - exponents))",
        after="np.ldexp(g.matrix, 0 * _shifts(g.exponents - exponents))",
        tests=(SHARDS, LOSS),
        catches="the exponents of merged shards",
    ),
    _heavy(
        before="            loss=float(up(up(self.loss + other.loss) + added)),\n",
        after="            loss=0.0,\n",
        tests=LOSS,
        catches="what merging loses",
    ),
    _heavy(
        before="    loss = norms.product_loss(size, size, len(k) + 2, total.size)\n",
        after="    loss = 0.0\n",
        tests=LOSS,
        catches="what one shard's sums lose",
    ),
    _heavy(
        before="        total = float(norms.sum_above(computed.sum(), n))\n",
        after="        total = 1.0\n",
        tests=QUERIES,
        catches="the total of the multipliers",
    ),
    _heavy(
        before="        factors = library_down(np.power(roots, half - 1))\n",
        after="        factors = 1 / library_down(np.power(roots, half - 1))\n",
        tests=QUERIES,
        catches="the factor of a key",
    ),
    _heavy(
        before="float(n), half), 1.0)",
        after="1.0, half), 1.0)",
        tests=QUERIES,
        catches="the number of keys where nothing is multiplied",
    ),
    _exact(
        before="    weighted = M * counts.astype(object)[:, None]\n",
        after="    weighted = M\n",
        tests=SCORES,
        catches="how often a row occurs",
    ),
    _exact(
        before="    return rounded if rounded >= number else float(up(rounded))\n",
        after="    return rounded\n",
        tests=SCORES,
        catches="rounding a leverage up",
    ),
    _exact(
        before="    chosen = _spanning(M.T.dot(weighted), d)\n",
        after="    chosen = list(range(d))\n",
        tests=SCORES,
        catches="columns that depend on others",
    ),
    _exact(
        before="both = product if i == j else product + product.T",
        after="both = product",
        tests=f"{HEAVY}::test_columns_that_depend_on_others_are_left_out_where_keys_are_many",
        catches="products of slices of different weight, both ways",
    ),
    _heavy(
        before="    if (smallest < exponents - EXACTLY_SCALED).any():\n",
        after="    if False:\n",
        tests=f"{HEAVY}::test_columns_are_not_taken_for_dependent_whose_entries_scaling_loses",
        catches="entries that scaling rounds",
    ),
)
