"""Build a dataset a network can trust: registered, judged, split, before anything learns from it."""
