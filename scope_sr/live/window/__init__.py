"""The window of the live view; the only room that knows of Qt."""
