"""Event-sourced systems in Python on a native store."""
