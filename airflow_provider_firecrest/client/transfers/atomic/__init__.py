"""A file that a batch job compares and gives its name in one step (FirecREST v2)."""
