"""What happened, as data: snapshots, histories, what-ifs and runs on disk. Opening a recording needs no torch."""
