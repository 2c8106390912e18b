"""The graph of a linear program, and the ways to multiply what stands on its edges."""
