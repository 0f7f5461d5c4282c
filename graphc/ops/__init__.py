"""The third room: composites over primitives and the public functions that declare operations."""
