"""What is made of the tolerance of kernels: cases of public faults, the command, the watch."""

from functools import partial

from tests.mutants.runner import Mutant

_WATCHED = "tests/fastpath/integrations/test_torch.py::"
_FAULT = "tests/conformance/test_kernel_faults.py::"
_COMMAND = "tests/proofs/test_kernel_command.py::"

_watch = partial(Mutant, file="fastpath/integrations/torch.py", needs="torch")
_case = partial(Mutant, file="proofs/evidence/kernel_cases.py")
_loaded = partial(Mutant, file="proofs/judging/implementation.py")
_run = partial(Mutant, file="fastpath/kernels/fingerprint.py")

MUTANTS = (
    _watch(
        before="            if not self._watchers:\n                self._undo.close()",
        after="            if self._watchers:\n                self._undo.close()",
        tests=f"{_WATCHED}test_everything_is_as_it_was_whatever_the_block_raises",
        catches="what restores torch's function",
    ),
    _watch(
        before="part.register_forward_hook(after, always_call=True)",
        after="part.register_forward_hook(after)",
        tests=f"{_WATCHED}test_everything_is_as_it_was_whatever_the_block_raises",
        catches="modules that are left by an exception",
    ),
    _watch(
        before="        if not self.everywhere and not self.names:\n            return\n",
        after="",
        tests=(
            f"{_WATCHED}test_a_sound_kernel_is_not_refuted_and_the_model_computes_what_it_did",
            f"{_WATCHED}test_blocks_of_threads_see_their_own_calls_and_restore_in_any_order",
        ),
        catches="calls of others",
    ),
    _watch(
        before='getattr(self._busy, "count", 0) > before or',
        after="",
        tests=f"{_WATCHED}test_functions_of_an_interface_like_that_of_transformers_are_followed",
        catches="a call inside a call of the interface",
    ),
    _watch(
        before="error = up(up(np.abs(output - allowed.centre)) + allowed.centre_bound)",
        after="error = up(np.abs(output - allowed.centre)) / 2",
        tests=f"{_WATCHED}test_the_error_is_certified",
        catches="half the error",
    ),
    _watch(
        before="    return found, rows[kept]",
        after="    return found, rows",
        tests=f"{_WATCHED}test_masks_biases_and_groups_are_those_of_torch",
        catches="rows that a finite bias hides whole",
    ),
    _watch(
        before="if starts and not seen and output is not None:",
        after="if False:",
        tests=f"{_WATCHED}test_attention_that_torch_fuses_is_told_of",
        catches="attention that no call shows",
    ),
    _watch(
        before="(sliding_window - 1, None if causal else sliding_window - 1)",
        after="(sliding_window, None if causal else sliding_window)",
        tests=f"{_WATCHED}test_functions_of_an_interface_like_that_of_transformers_are_followed",
        catches="the query's own key among a window's",
    ),
    _case(
        before="fmt.nearest(x).astype(dtype)",
        after="np.asarray(x).astype(dtype)",
        tests=f"{_FAULT}test_names_of_cases_are_unique_and_their_numbers_those_of_the_format",
        catches="numbers of the format",
    ),
    _case(
        before="        kept = np.empty_like(x, dtype=dtype)\n",
        after="        kept = np.empty(x.shape, dtype=dtype)\n",
        tests=f"{_FAULT}test_a_public_fault_is_refuted_by_the_case_drawn_from_it",
        catches="the layout of a case",
    ),
    _case(
        before="    except ValueError as refusal:\n",
        after="    except KeyError as refusal:\n",
        tests=f"{_COMMAND}test_a_model_that_says_nothing_of_so_many_keys_is_a_finding",
        catches="a model that says nothing",
    ),
    _loaded(
        before='key = f"_attest_{path.stem}_{abs(hash(str(path)))}"',
        after="key = path.stem",
        tests=f"{_COMMAND}test_a_kernel_of_its_model_conforms",
        catches="a file that is called as something installed",
    ),
    _loaded(
        before="        sys.path.append(str(path.parent))",
        after="        pass",
        tests=f"{_COMMAND}test_a_kernel_of_its_model_conforms",
        catches="what stands beside a file",
    ),
    _run(
        before='copies = [x.copy(order="K") for x in given]',
        after="copies = [x.copy() for x in given]",
        tests=f"{_FAULT}test_a_public_fault_is_refuted_by_the_case_drawn_from_it",
        catches="the layout of what a kernel gets",
    ),
    _run(
        before="except (Exception, SystemExit) as error:",
        after="except Exception as error:",
        tests=f"{_COMMAND}test_a_kernel_that_ends_the_program_is_a_finding_a_case",
        catches="a kernel that ends the program",
    ),
)
