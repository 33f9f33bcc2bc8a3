"""The programs that made the embedded weights and data; not part of the wheel."""
