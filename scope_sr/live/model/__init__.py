"""The model thread: which networks, which part of the field next, and what comes of it."""
