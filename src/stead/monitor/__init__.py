"""The guard: who this thread is, and where check, record and refusal meet."""
