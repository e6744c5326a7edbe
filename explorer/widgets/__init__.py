"""What the browser shows: small anywidgets of our own around one shared model, the Board."""
