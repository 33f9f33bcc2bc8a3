"""Planning of a call's cost without running it: `shape` -> `flops`, `memory` -> `report`."""
