"""Pictures: a table first, then a drawing of it."""
