"""What P3 claims of a narrower feature matrix, and what is true."""
