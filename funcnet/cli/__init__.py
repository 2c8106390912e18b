"""The commands: ``funcnet``, which is also ``python -m funcnet``."""

from __future__ import annotations

from funcnet.cli.app import main

__all__ = ["main"]
