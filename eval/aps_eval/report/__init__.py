"""Reports of rows: statistics, tables for terminals and spreadsheets, and an HTML page."""
