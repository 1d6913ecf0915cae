"""A run: its plan, the order of its lanes, and what its training leaves."""
