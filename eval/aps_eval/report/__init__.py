"""Rows as numbers: statistics, tables for terminals and spreadsheets, and the page."""
