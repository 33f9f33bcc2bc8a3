"""What a call costs before it is made: `shape` -> `flops`, `memory` -> `report`."""
