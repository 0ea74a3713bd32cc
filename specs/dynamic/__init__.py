"""What P1 claims, and what is true: attention of tokens that change."""
