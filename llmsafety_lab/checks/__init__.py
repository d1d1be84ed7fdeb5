"""The exercises' checks, one module a topic."""
