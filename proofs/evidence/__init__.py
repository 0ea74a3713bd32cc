"""What is known of the claims, recomputed: the Coq proofs, the audit, the conformance suite."""
