"""The judge: pure functions over the model; no I/O, no clock, no memory."""
