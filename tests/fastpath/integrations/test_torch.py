"""Attention of a running torch model, followed and judged; everything is as it was after that."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastpath
from fastpath.integrations.torch import watch
from fastpath.kernels import RoundingModel, float32_throughout, tolerance, torch_flash_cpu

torch = pytest.importorskip("torch", reason="an optional peer, of the extra peers")
functional = torch.nn.functional

HEADS, WIDTH, TOKENS = 3, 24, 40


class Attention(torch.nn.Module):  # type: ignore[misc, name-defined]
    """A layer of attention, of a few heads."""

    def __init__(self) -> None:
        super().__init__()
        self.project = torch.nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: Any) -> Any:
        batch, n, _ = x.shape
        parts = self.project(x).chunk(3, -1)
        q, k, v = (t.reshape(batch, n, HEADS, -1).transpose(1, 2) for t in parts)
        output = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + output.transpose(1, 2).reshape(batch, n, WIDTH)


@pytest.fixture
def network() -> Any:
    """Three layers, and tokens for them, in bfloat16."""
    torch.manual_seed(0)
    return torch.nn.Sequential(*(Attention() for _ in range(3))).to(torch.bfloat16)


@pytest.fixture
def tokens() -> Any:
    return torch.randn(2, TOKENS, WIDTH).to(torch.bfloat16)


def test_a_sound_kernel_is_not_refuted_and_the_model_computes_what_it_did(
    network: Any, tokens: Any
) -> None:
    original = functional.scaled_dot_product_attention
    alone = network(tokens)
    with watch(network, torch_flash_cpu, rows=16) as seen:
        functional.scaled_dot_product_attention(tokens, tokens, tokens)  # none of the network's
        watched = network(tokens)
    assert torch.equal(alone, watched)
    assert functional.scaled_dot_product_attention is original
    assert not any(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())
    assert (seen.calls, seen.findings, seen.refuted) == (3, [], False)
    assert [(r.layer, r.head[-1], r.rows) for r in seen.table()] == [
        (layer, head, 32) for layer in "012" for head in range(HEADS)
    ]
    assert 0 < max(report.ratio for report in seen.heads) <= 1


def test_the_error_is_certified(network: Any, tokens: Any) -> None:
    kept: list[tuple[Any, ...]] = []
    original = functional.scaled_dot_product_attention

    def keeping(q: Any, k: Any, v: Any, **options: Any) -> Any:
        kept.append((q, k, v, original(q, k, v, **options)))
        return kept[-1][-1]

    functional.scaled_dot_product_attention = keeping
    try:
        with watch(network, torch_flash_cpu, rows=TOKENS) as seen:
            network(tokens)
    finally:
        functional.scaled_dot_product_attention = original
    for call, tensors in enumerate(kept):
        q, k, v, output = (t.detach().double().numpy() for t in tensors)
        exact = fastpath.attention(q, k, v, causal="upper-left", scale=q.shape[-1] ** -0.5)
        distance = np.abs(output - exact.output)
        arithmetic = RoundingModel(out="float64", block=256)
        own = tolerance(q, k, v, arithmetic, causal="upper-left", scale=q.shape[-1] ** -0.5)
        for report in (r for r in seen.heads if r.call == call):
            at = report.head
            assert (distance[at] - exact.error_bound[at]).max() <= report.error
            # Looser by no more than what the centre, in float32, may be off by where queries are longest.
            longest = np.linalg.norm(q[at], axis=1)
            off = (1 + longest.max() / longest.min()) * own.bound[at]
            assert report.error <= distance[at].max() + off.max()


def test_a_fault_in_one_layer_is_found_there(
    network: Any, tokens: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = functional.scaled_dot_product_attention
    calls = []

    def faulty(q: Any, k: Any, v: Any, **options: Any) -> Any:
        """In the second layer, leave the first key of the last head out."""
        calls.append(1)
        output = original(q, k, v, **options)
        if len(calls) == 2:
            mask = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
            mask[1:, 0] = False
            lost = original(q[:, -1:], k[:, -1:], v[:, -1:], attn_mask=mask)
            output = torch.cat([output[:, :-1], lost], 1)
        return output

    monkeypatch.setattr(functional, "scaled_dot_product_attention", faulty)
    with watch(network, torch_flash_cpu, rows=16) as seen:
        network(tokens)
    assert functional.scaled_dot_product_attention is faulty
    assert {(r.layer, r.head[-1]) for r in seen.heads if r.refuted} == {("1", HEADS - 1)}
    (finding,) = seen.findings
    assert finding.startswith("1: output[")
    assert "of call 1 refutes RoundingModel(out='bfloat16'" in finding
    (worst,) = [r for r in seen.table() if r.refuted]
    assert not worst.lower <= worst.value <= worst.upper
    assert worst.error > max(r.error for r in seen.heads if not r.refuted)
    told = str(seen).splitlines()
    assert sum("REFUTED by" in line for line in told) == 1
    assert sum("not refuted" in line for line in told) == 3 * HEADS - 1


def test_heads_judged_together_are_what_they_are_one_by_one(
    network: Any, tokens: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = functional.scaled_dot_product_attention

    def faulty(q: Any, k: Any, v: Any, **options: Any) -> Any:
        """Double one column of one head."""
        output = original(q, k, v, **options)
        output[1, 2, :, 3] *= 2
        return output

    monkeypatch.setattr(functional, "scaled_dot_product_attention", faulty)
    runs = []
    for together in (True, False):
        if not together:
            monkeypatch.setattr(
                "fastpath.integrations.torch._together_judged", lambda *given: False
            )
        with watch(network, torch_flash_cpu, rows=16) as seen:
            network(tokens)
        runs.append(seen)
    one, other = runs
    assert one.findings == other.findings
    assert len(one.findings) == 3
    assert [(r.layer, r.call, r.head, r.rows) for r in one.heads] == [
        (r.layer, r.call, r.head, r.rows) for r in other.heads
    ]
    for mine, alone in zip(one.heads, other.heads, strict=True):
        if alone.refuted:
            assert mine == alone  # in every field
            continue
        assert not mine.refuted
        assert mine.error >= alone.error * (1 - 2.0**-20)
        assert mine.ratio <= alone.ratio * (1 + 2.0**-8)


@pytest.mark.parametrize("held", [0, 2**30])
def test_what_is_put_off_does_not_see_what_is_written_later(
    held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastpath.integrations.torch.MOST_HELD", held)
    torch.manual_seed(3)
    heads = torch.randn(3, 1, 2, 30, 8)
    reports = []
    for written in (False, True):
        q, k, v = heads.clone()
        with watch(None, float32_throughout, rows=30) as seen:
            for _ in range(2):
                output = functional.scaled_dot_product_attention(q, k, v)
                if written:
                    for x in (k, v, output):
                        x.mul_(3)
                    q.copy_(heads[0]), k.copy_(heads[1]), v.copy_(heads[2])
            assert len(seen.heads) == 4
            assert seen.heads == seen.heads
        reports.append(seen.heads)
    assert reports[0] == reports[1]


def test_everything_is_as_it_was_whatever_the_block_raises(network: Any, tokens: Any) -> None:
    original = functional.scaled_dot_product_attention

    class After(Attention):
        def forward(self, x: Any) -> Any:
            super().forward(x)
            raise RuntimeError("inside")

    failing = torch.nn.Sequential(*network, After().bfloat16())
    with pytest.raises(RuntimeError, match="inside"), watch(failing, torch_flash_cpu) as seen:
        failing(tokens)
    assert seen.calls == 4
    with pytest.raises(RuntimeError), watch(network, torch_flash_cpu) as seen:
        network(tokens[..., :5])
    assert seen.calls == 0
    assert functional.scaled_dot_product_attention is original
    assert not any(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())
    with watch(failing, torch_flash_cpu, rows=4) as seen:
        for _ in range(2):  # modules that were left by an exception are left
            with pytest.raises(RuntimeError, match="inside"):
                failing(tokens)
        functional.scaled_dot_product_attention(tokens, tokens, tokens)
    assert [r.layer for r in seen.heads[:: 2 * HEADS]] == list("01230123")


def test_blocks_of_threads_see_their_own_calls_and_restore_in_any_order(tokens: Any) -> None:
    original = functional.scaled_dot_product_attention
    networks = [torch.nn.Sequential(Attention(), Attention()).bfloat16() for _ in range(2)]
    meet, leave = threading.Barrier(2), [threading.Event(), threading.Event()]
    seen: list[Any] = [None, None]

    def run(i: int) -> None:
        with watch(networks[i], torch_flash_cpu, rows=4) as seen[i]:
            meet.wait()
            networks[i](tokens)
            meet.wait()
            if i == 0:
                leave[1].wait()  # the first to enter may be the last to leave
        leave[i].set()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [s.calls for s in seen] == [2, 2]
    assert functional.scaled_dot_product_attention is original


def test_one_block_inside_another_judges_each_call_once_a_block(network: Any, tokens: Any) -> None:
    with (
        watch(network, torch_flash_cpu, rows=4) as outer,
        watch(None, torch_flash_cpu, rows=4) as inner,
    ):
        network(tokens)
    assert (outer.calls, inner.calls) == (3, 3)
    assert [r.layer for r in inner.heads[:: 2 * HEADS]] == ["call 0", "call 1", "call 2"]


def test_masks_biases_and_groups_are_those_of_torch() -> None:
    torch.manual_seed(1)
    q, k, v = (torch.randn(2, h, n, 8) for h, n in ((4, 20), (2, 30), (2, 30)))
    whole = [x.repeat_interleave(2, 1) for x in (k, v)]
    seen_by = torch.rand(2, 1, 20, 30) < 0.5
    seen_by[0, 0, 3] = False  # a row that sees nothing
    seen_by[:, :, 4:, 7] = True
    least = torch.finfo(torch.float32).min
    with watch(None, float32_throughout, rows=20) as seen:
        functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        functional.scaled_dot_product_attention(q, *whole, attn_mask=seen_by)
        functional.scaled_dot_product_attention(q, *whole, attn_mask=torch.randn(20, 30))
        functional.scaled_dot_product_attention(q, *whole, attn_mask=(~seen_by) * least)
        functional.scaled_dot_product_attention(q, *whole, is_causal=True, scale=0.3)
        functional.scaled_dot_product_attention(q[0, 0], k[0, 0], v[0, 0])
        functional.scaled_dot_product_attention(
            q.double(), *(x.double() for x in whole), attn_mask=seen_by[..., :1, :]
        )
    by_call = {r.call: r for r in seen.heads}
    assert [by_call[call].rows for call in (0, 1, 2, 4, 5, 6)] == 6 * [20]
    assert all(0 < r.ratio <= 1 and np.isfinite(r.upper - r.lower) for r in seen.heads)
    assert 0 < by_call[3].rows < 20  # rows that a finite bias hides whole are none of ours
    assert not seen.refuted
    assert seen.findings == []


def test_what_cannot_be_judged_is_a_sentence_and_the_model_runs_on() -> None:
    q = torch.randn(1, 5, 4)
    with watch(None, RoundingModel(out="bfloat16")) as seen:
        assert functional.scaled_dot_product_attention(q, q, q).shape == q.shape
        functional.scaled_dot_product_attention(*([q.bfloat16()] * 3), dropout_p=0.5)
        functional.scaled_dot_product_attention(*([torch.full_like(q, torch.nan).bfloat16()] * 3))
    assert seen.heads == []
    assert seen.findings[0] == (
        "call 0: call 0 is not judged: its output is of type float32 and the model's of bfloat16."
    )
    assert "drops weights at random, dropout_p=0.5" in seen.findings[1]
    assert "call 2 is not judged: Q must be finite" in seen.findings[2]
    assert all(finding in str(seen) for finding in seen.findings)
    with watch(None, torch_flash_cpu) as none:
        pass
    assert "No call of scaled_dot_product_attention was seen." in str(none)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"module": 3}, TypeError, "module must be a torch.nn.Module or None, got 3."),
        ({"model": "flash"}, TypeError, "model must be a RoundingModel, or a function from"),
        ({"rows": 0}, ValueError, "rows must"),
        ({"seed": -1}, ValueError, "seed must"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    given: dict[str, Any], error: type[Exception], said: str
) -> None:
    original = functional.scaled_dot_product_attention
    with (
        pytest.raises(error, match=said),
        watch(**{"module": None, "model": torch_flash_cpu, **given}),
    ):
        pass
    assert functional.scaled_dot_product_attention is original


def test_attention_that_torch_fuses_is_told_of() -> None:
    layer = torch.nn.TransformerEncoderLayer(d_model=16, nhead=2, batch_first=True)
    encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    tokens = torch.randn(1, 7, 16)
    with watch(encoder, torch_flash_cpu) as seen, torch.no_grad():
        encoder(tokens)
    fused = [f.partition(":")[0] for f in seen.findings if "set_fastpath_enabled(False)" in f]
    assert len(fused) + seen.calls == 2  # of every layer one or the other
    assert all(name.startswith(f"layers.{i}") for i, name in enumerate(fused))
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with watch(encoder, torch_flash_cpu) as seen, torch.no_grad():
            encoder(tokens)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    assert (seen.calls, seen.findings) == (2, [])
    weighing = torch.nn.MultiheadAttention(16, 2, batch_first=True)
    with watch(weighing, torch_flash_cpu) as seen:
        weighing(tokens, tokens, tokens)  # with its weights, for which it calls no kernel
    (finding,) = seen.findings
    assert finding.startswith("MultiheadAttention: its attention is not judged")


class Interface(MutableMapping[str, Any]):
    """What transformers has: functions for all instances, and this instance's own before them."""

    shared: dict[str, Any]

    def __init__(self) -> None:
        self.own: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        return self.own[key] if key in self.own else self.shared[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.own[key] = value

    def __delitem__(self, key: str) -> None:
        del self.own[key]

    def __iter__(self) -> Iterator[str]:
        return iter({**self.shared, **self.own})

    def __len__(self) -> int:
        return len({**self.shared, **self.own})


def test_functions_of_an_interface_like_that_of_transformers_are_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def sdpa(module: Any, query: Any, key: Any, value: Any, mask: Any, **options: Any) -> Any:
        output = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return output.transpose(1, 2).contiguous(), None

    def windowed(module: Any, query: Any, key: Any, value: Any, mask: Any, **options: Any) -> Any:
        position = torch.arange(query.shape[-2])
        behind = position[:, None] - position
        scores = query @ key.mT * options["scaling"]
        cap = options["softcap"]
        scores = cap * torch.tanh(scores / cap)
        scores = scores.masked_fill(
            (behind < 0) | (behind >= options["sliding_window"]), -torch.inf
        )
        sinks = options["s_aux"][:, None, None].expand(*scores.shape[:-1], 1)
        weights = torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]
        return (weights @ value).transpose(1, 2).contiguous(), weights

    Interface.shared = {"sdpa": sdpa}
    interface = Interface()
    interface["mine"] = windowed
    loaded = SimpleNamespace(ALL_ATTENTION_FUNCTIONS=interface)
    monkeypatch.setitem(sys.modules, "transformers.modeling_utils", loaded)  # type: ignore[arg-type]
    torch.manual_seed(2)
    q, k, v = (torch.randn(2, 4, 20, 8) for _ in range(3))
    options = {"scaling": 0.3, "softcap": 2.0, "sliding_window": 5, "s_aux": torch.randn(4)}
    with watch(None, float32_throughout) as seen:
        interface["sdpa"](None, q, k, v, None)
        interface["mine"](None, q, k, v, None, is_causal=True, position_ids=1, **options)
        interface["mine"](None, q, k, v, None, is_causal=True, **{**options, "softcap": 9.0})
        interface["mine"](None, q, k, v, None, rope=1, **options)
    assert seen.calls == 4
    assert not seen.refuted, str(seen)
    assert len(seen.heads) == 3 * 8
    assert seen.findings == [
        "call 3: call 3 is not judged: it has options of unknown meaning: rope."
    ]
    assert (interface["sdpa"], interface["mine"]) == (sdpa, windowed)
    assert interface.own == {"mine": windowed}


def test_the_example_of_the_document_runs(capsys: pytest.CaptureFixture[str]) -> None:
    document = Path(__file__).parents[3] / "docs" / "kernels.md"
    blocks = re.findall(
        r"^```py\n(.*?)^```$", document.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    (block,) = [block for block in blocks if "TransformerEncoder" in block]
    exec(block, {})
    assert capsys.readouterr().out.count("not refuted") == 8


def test_importing_it_does_not_import_torch() -> None:
    script = "import sys, fastpath.integrations.torch; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
