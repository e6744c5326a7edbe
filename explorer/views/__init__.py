"""Snapshot in, picture out. Each file holds one topic: a pure function that says what is drawn, and a thin widget."""
