"""Who runs what: one run, its worker thread, and the event loop that owns every trait."""
