"""Statistics on arrays, each with its source: no files, no studies, no networks."""
