"""Heads, scales and workers outside exact attention: each term and guard, left out."""

from functools import partial

from tests.mutants.runner import Mutant

HEADS = "tests/fastpath/real_heads/test_heads_and_scale.py::"
SCALING = "tests/fastpath/core/test_scaling.py::"
CORES = "tests/fastpath/core/test_cores.py::"
DYNAMIC = "tests/fastpath/dynamic/test_dynamic_scale.py::"
STREAM = "tests/fastpath/streaming/test_stream_scale.py::"
CASES = "tests/conformance/test_certificate_cases.py::"
OF_HEADS = HEADS + "test_a_certificate_of_heads_is_that_of_the_worst_row_of_all"
BLIND = HEADS + "test_a_row_that_sees_nothing_is_refused_whichever_rows_are_drawn"
ROUNDED = HEADS + "test_the_rounding_of_a_scale_is_in_the_certificate"
MOVED = SCALING + "test_no_logit_moves_further_than_is_said"
EVERY = DYNAMIC + "test_every_strategy_counts_the_rounding_of_a_scale"

_scaling = partial(Mutant, file="fastpath/core/scaling.py")
_semantics = partial(Mutant, file="fastpath/core/semantics.py")
_certify = partial(Mutant, file="fastpath/real_heads/certify.py")
_ways = partial(Mutant, file="fastpath/real_heads/attention.py")
_stream = partial(Mutant, file="fastpath/streaming/attention.py")

MUTANTS = (
    _scaling(
        before="scaled_logit(0, u, magnitude, 0.0, 0.0)",
        after="0.0 * magnitude",
        tests=MOVED,
        catches="the rounding of a scaled query",
    ),
    _scaling(
        before="scaled_logit(d, u, 0.0, tiny, largest_key)",
        after="0.0",
        tests=MOVED,
        catches="the underflow of a scaled query",
    ),
    _scaling(
        before="exact = scale == 0 or bool(",
        after="exact = True or bool(",
        tests=SCALING + "test_a_power_of_two_moves_nothing_unless_it_underflows",
        catches="that a power of two may underflow",
    ),
    _certify(
        before="exact_rows(heads[index], of_head)",
        after="exact_rows(heads[0], of_head)",
        tests=OF_HEADS,
        catches="which head a row is of",
    ),
    _certify(
        before="    n = len(heads) * heads.shape[-2]\n",
        after="    n = heads.shape[-2]\n",
        tests=HEADS + "test_rows_are_drawn_from_all_heads_together",
        catches="that rows of all heads are drawn",
    ),
    _certify(
        before="    heads.options.check_rows()\n",
        after="",
        tests=BLIND,
        catches="rows that see nothing and are not drawn",
    ),
    Mutant(
        file="fastpath/core/head.py",
        before="keys=keys[index // group]",
        after="keys=keys[index % len(keys)]",
        tests=OF_HEADS,
        catches="which keys a group of query heads reads",
    ),
    _semantics(
        before="mask=None if self.mask is None else self.mask[head]",
        after="mask=None if self.mask is None else self.mask[(0,) * len(head)]",
        tests=HEADS + "test_options_of_one_head_are_its_own",
        catches="a mask of each head's own",
    ),
    _semantics(
        before="bias=None if self.bias is None else self.bias[head]",
        after="bias=None if self.bias is None else self.bias[(0,) * len(head)]",
        tests=HEADS + "test_options_of_one_head_are_its_own",
        catches="a bias of each head's own",
    ),
    _semantics(
        before="sinks=None if sink is None else np.array(sink)",
        after="sinks=None",
        tests=CASES + "test_an_error_in_the_last_head_is_certified_and_no_more",
        catches="the sink of one head",
    ),
    _semantics(
        before="square = self.right == 0 and self.offset == 0 and self.queries == self.keys",
        after="square = self.right == 0",
        tests=CASES + "test_certified_attention_with_options_is_within_its_certificate",
        catches="that only a square is causal attention",
    ),
    _semantics(
        before="keys &= self.bias[head][start : start + step] > -np.inf",
        after="pass",
        tests=BLIND,
        catches="keys that a bias hides",
    ),
    _ways(
        before="error_bound=up(answer.error_bound + self.shift)",
        after="error_bound=answer.error_bound",
        tests=ROUNDED,
        catches="what the rounding of a scale does to an output",
    ),
    _ways(
        before="allowed = float(down(down(down(asked.allowed) - most)))",
        after="allowed = asked.allowed",
        tests=ROUNDED,
        catches="that the rounding of a scale is part of the tolerance",
    ),
    _ways(
        before="    if not most <= SCALING_ROOM * asked.allowed:\n",
        after="    if False:\n",
        tests=HEADS + "test_a_scale_whose_rounding_takes_too_much_leaves_exact_attention",
        catches="a scale whose rounding takes too much",
    ),
    _ways(
        before="failure_probability / len(heads)",
        after="failure_probability",
        tests=HEADS + "test_heads_share_the_failure_probability",
        catches="that heads share the failure probability",
    ),
    _ways(
        before="in zip(self.given, self.asked, strict=True)",
        after="in zip(self.heads, self.asked, strict=True)",
        tests=HEADS + "test_heads_share_the_failure_probability",
        catches="that clusters are certified for the head as it was given",
    ),
    Mutant(
        file="fastpath/dynamic/certificate.py",
        before="    if scaled:\n",
        after="    if False:\n",
        tests=DYNAMIC + "test_the_rounding_of_a_scale_is_in_the_bound_of_a_row",
        catches="a row's scale in its bound",
    ),
    Mutant(
        file="fastpath/dynamic/sums.py",
        before=(
            "            scaled=self.tokens.scale != 1,\n            magnitude=self._largest_value,\n"
            "            denominator=denominator,\n            mass=mass,\n"
        ),
        after=(
            "            scaled=False,\n            magnitude=self._largest_value,\n"
            "            denominator=denominator,\n            mass=mass,\n"
        ),
        tests=EVERY,
        catches="the scale of rows that are kept",
    ),
    Mutant(
        file="fastpath/dynamic/sums.py",
        before=(
            "            scaled=self.tokens.scale != 1,\n            magnitude=self._largest_value,\n"
            "            denominator=denominator,\n            mass=denominator,\n"
        ),
        after=(
            "            scaled=False,\n            magnitude=self._largest_value,\n"
            "            denominator=denominator,\n            mass=denominator,\n"
        ),
        tests=EVERY,
        catches="the scale of rows that are as they were computed",
    ),
    Mutant(
        file="fastpath/dynamic/kept.py",
        before="scaled=self.tokens.scale != 1",
        after="scaled=False",
        tests=EVERY,
        catches="the scale of rows whose weights are kept",
    ),
    Mutant(
        file="fastpath/dynamic/recomputed.py",
        before="scaled=tokens.scale != 1",
        after="scaled=False",
        tests=EVERY,
        catches="the scale of rows that are recomputed",
    ),
    Mutant(
        file="fastpath/dynamic/tokens.py",
        before="scaled(self._given[i, j], self.scale, self.dtype).queries",
        after="self._given[i, j]",
        tests=DYNAMIC + "test_rows_are_those_of_the_definition_whatever_changes",
        catches="the scale of a query that changes",
    ),
    Mutant(
        file="fastpath/polynomial/moment_state.py",
        before="error_bound=up(found.error_bound + shift)",
        after="error_bound=found.error_bound",
        tests=STREAM + "test_the_rounding_of_a_scale_is_in_the_certificate",
        catches="the rounding of a scale in a stream",
    ),
    _stream(
        before='            ("scale", self._scale, other._scale),\n',
        after="",
        tests=STREAM + "test_states_of_different_scales_are_not_merged",
        catches="that states of one scale are merged",
    ),
    _stream(
        before='                "scale": np.array(self._scale),\n',
        after="",
        tests=STREAM + "test_a_file_keeps_the_scale",
        catches="the scale in a file",
    ),
    _stream(
        before="+ rounding + shift <= allowed",
        after="+ rounding <= allowed",
        tests=STREAM + "test_a_degree_leaves_room_for_the_rounding_of_a_scale",
        catches="room for the rounding of a scale",
    ),
    Mutant(
        file="fastpath/polynomial/attention.py",
        before="sums = sums + of_block",
        after="sums += of_block",
        tests=CORES + "test_no_bit_depends_on_the_number_of_workers",
        catches="that a block sees the moments of earlier ones",
    ),
    Mutant(
        file="fastpath/sparsification/gram.py",
        before="total[:start, start : start + STRIP] = total[start : start + STRIP, :start].T",
        after="pass",
        tests=CORES + "test_a_gram_matrix_of_several_tasks_is_within_its_bound",
        catches="what lies right of the diagonal",
    ),
)
