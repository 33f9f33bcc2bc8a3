"""Commands of `aps`, one a file: `add_parser(subparsers)` and a function that runs it."""
