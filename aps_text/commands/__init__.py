"""Commands of `aps`, one per file: `add_parser(subparsers)`, and a function that runs it."""
