"""proofs: the evidence, and the ``attest`` command that gathers it.

``heads`` reads attention heads, ``hypotheses`` says in numbers which papers apply to one, and ``examine``
puts an implementation's certificate beside its enclosed error; ``audit`` recomputes what is known of
the claims, ``check`` checks the Coq proofs.  The implementation under test is loaded by name.
"""
