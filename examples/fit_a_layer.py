"""Fit an attention layer to the outputs of a real one, and prove how far the fit is from a minimum.

    python examples/fit_a_layer.py

A real head's queries and keys, cut to four columns, give a layer softmax(A1 X A2^T) A3 Y with X and Y the
identity; from its outputs X and Y are found again.  `certificate` proves an exact critical point, a strict
local minimum, within a radius.  Here the minimum is known, so that the distance can be seen beside it; with
noise on the outputs the minimum is elsewhere, and the certificate says how well it is known all the same.

Which minimum is reached depends on the start (P4.algorithm): far away `solve_from_many` starts often.
"""

import numpy as np

import fastpath
from proofs.judging.heads import shipped_heads

COLUMNS = 4
rng = np.random.default_rng(0)

print("distances from the planted X and Y, and from an exact minimum as it is proved")
print(
    f"{'head':<20} {'noise':>6} {'steps':>5} {'loss':>8} {'planted':>9} {'proved':>9} "
    f"{'least eigenvalue':>16}"
)
for head in shipped_heads():
    if not head.name.startswith("minilm") or not head.name.endswith("n256"):
        continue
    A1, A2, A3 = (x[:, :COLUMNS].astype(float) for x in head.matrices)
    identity = np.eye(COLUMNS)
    clean = fastpath.attention(A1, A2, A3).output
    for noise in (0.0, 0.05):
        size = noise * np.linalg.norm(clean) / np.sqrt(clean.size)
        B = clean + size * rng.standard_normal(clean.shape)
        layer = fastpath.AttentionRegression(A1, A2, A3, B)
        start = identity + 0.1 * rng.standard_normal(identity.shape)
        found = layer.solve(start, tolerance=1e-13)
        distance = float(np.hypot(*(np.linalg.norm(z - identity) for z in (found.X, found.Y))))
        proof = found.certificate
        if proof.radius is None:
            print(f"{head.name:<20} {noise:>6} {found.nit:>5} {found.fun:>8.1e}: {proof.reason}")
            continue
        if noise == 0:
            # The planted point is a minimum: the loss is 0 there, but for the rounding of the outputs.
            assert distance <= proof.radius + 1e-9
        print(
            f"{head.name:<20} {noise:>6} {found.nit:>5} {found.fun:>8.1e} {distance:>9.1e} "
            f"{proof.radius:>9.1e} {proof.least_eigenvalue:>16.1e}"
        )
