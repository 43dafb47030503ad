"""Build a dataset a network can trust: registered, judged and split before anything learns."""
