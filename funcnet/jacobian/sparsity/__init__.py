"""Which results depend on which operands, where no closed form says so."""
