"""Colours for rows and columns, so that many of them go through a function together."""
