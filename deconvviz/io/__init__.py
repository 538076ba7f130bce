"""Files: atomic writes, locks, and marks that identify the library's own files."""
