"""The memory: a durable, chained trail of who did what on whose behalf."""
