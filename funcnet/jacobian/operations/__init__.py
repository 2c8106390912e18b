"""The Jacobian of each linear operation that has a structure."""
