"""The second room: every primitive, declared once, one file per family."""
