"""The architectures, and loading what was trained."""
