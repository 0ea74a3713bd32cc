"""Replace tokens of a head one after another, and read rows that are right after every edit.

    python examples/edit_a_cache.py

The edits are real: words of a text are replaced, and in the first layer of the model that changes one row of
Q, K and V each.  `DynamicAttention` keeps sums that an edit changes by a matrix of rank one.  After
each edit a row is read with its bound; its error is decided by an enclosure of the exact row.
"""

import numpy as np

import fastpath
import reference
from proofs.judging.heads import shipped_replacements

replaced = shipped_replacements()
Q, K, V = (x.astype(float) for x in replaced.head.matrices)
tokens = fastpath.DynamicAttention(Q, K, V)
print(f"{replaced.name}: {len(Q)} tokens, {len(replaced.tokens)} edits")
print(f"{'edits':>6} {'row':>4} {'certified':>10} {'observed':>10}")

rng = np.random.default_rng(0)
for edit, (token, *rows) in enumerate(zip(replaced.tokens, *replaced.rows, strict=True), 1):
    for array, row in zip((Q, K, V), rows, strict=True):
        array[token] = row
    tokens.set_query(token, rows[0])
    tokens.set_key(token, rows[1])
    tokens.set_value(token, rows[2])

    i = int(rng.integers(len(Q)))
    row, bound = tokens.query_row(i), tokens.error_bound(i)
    exact = reference.attention(Q[i : i + 1], K, V)  # enclosed, of the tokens as they now are
    error = float(exact.distance(row[None]).largest()[1])
    assert error <= bound, "a certificate that does not hold is a defect of ours"
    if edit & (edit - 1) == 0:
        print(f"{edit:>6} {i:>4} {bound:>10.1e} {error:>10.1e}")

added = tokens.append(Q[0], K[0], V[0])
tokens.evict(5)
print(f"a token more, number {added}, and one less: {len(tokens.live)} live")
rows = tokens.output()
print(f"all of them at once: no entry off by more than {float(np.max(rows.error_bound)):.1e}")
print(f"exponentials for all of this: {tokens.stats['exponentials']}")
print(f"of computing every row after every edit: {len(replaced.tokens) * len(Q) ** 2}")
