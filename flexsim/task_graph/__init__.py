"""Task graphs: operators under a strategy, expanded to columns of tasks."""
