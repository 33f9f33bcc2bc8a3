"""How the embedded weights were made. Not in the wheel."""
