"""Structured blocks, their products and sums, and how they are written out."""
