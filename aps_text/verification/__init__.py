"""The checks of `aps verify`, each of which gives one line of a report."""
