"""The page of one answer: its steps as JSON, drawn by one script in one self-contained file."""
