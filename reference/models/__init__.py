"""What a fast method computes, for counting and comparing; not definitions."""
