"""One self-contained HTML page for a run, a search or a sweep."""
