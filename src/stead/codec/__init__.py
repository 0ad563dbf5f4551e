"""Security descriptors as text and as bytes."""
