"""proofs: the evidence, and the ``attest`` command that gathers it.

``judging`` puts an implementation's certificate beside its enclosed error, one judge a stem; ``evidence``
recomputes what is known of the claims, runs Coq and the conformance suite; ``command`` prints what they
find.  The implementation under test is loaded by name.
"""
