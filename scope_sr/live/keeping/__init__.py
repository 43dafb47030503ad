"""Snapshots and recordings, written in a thread of their own."""
