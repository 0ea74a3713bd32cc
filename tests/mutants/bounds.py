"""The rounding of the generated bounds, left out; each of their terms is left out by test_bounds.py."""

from functools import partial

from tests.mutants.runner import Mutant

EVERY = "tests/mutants/test_bounds.py"
CODEGEN = "tests/specs/test_printing.py"

_planted = partial(Mutant, file="fastpath/core/directed.py")

MUTANTS = (
    _planted(
        before="    return value * _MORE + _SMALLEST",
        after="    return value",
        tests=EVERY,
        catches="the rounding upward",
    ),
    _planted(
        before="    return np.maximum(value * _LESS - _SMALLEST, 0.0)",
        after="    return np.maximum(value, 0.0)",
        tests=f"{EVERY}::test_what_is_subtracted_from_is_rounded_downward",
        catches="the rounding downward",
    ),
    _planted(
        before="    return value * _LIBRARY_MORE + _SMALLEST",
        after="    return value",
        tests=f"{EVERY}::test_a_function_of_a_library_is_rounded_past_its_error",
        catches="the error of a library's function, upward",
    ),
    _planted(
        before="    return np.maximum(value * _LIBRARY_LESS - _SMALLEST, 0.0)",
        after="    return np.maximum(value, 0.0)",
        tests=f"{EVERY}::test_a_function_of_a_library_is_rounded_past_its_error",
        catches="the error of a library's function, downward",
    ),
    _planted(
        before="_SMALLEST = 2.0**-1074",
        after="_SMALLEST = 0.0",
        tests=f"{CODEGEN}::test_a_subnormal_argument_is_not_rounded_to_nothing",
        catches="the underflow of a bound",
    ),
    _planted(
        before="        total = up(total + term)",
        after="        total = total + term",
        tests=f"{EVERY}::test_a_sum_of_many_terms_is_rounded_upward",
        catches="the rounding of a sum",
    ),
    Mutant(
        file="fastpath/core/bounds/softmax.py",
        before='"exp_error": 6.0,',
        after='"exp_error": 3.0,',
        tests="tests/fastpath/exact/test_terms.py"
        "::test_for_parallel_queries_and_keys_the_certificate_is_the_theorem",
        catches="half of what exp may err in float32",
    ),
)
