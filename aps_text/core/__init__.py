"""The method on tensors and Protocols: needs torch only."""
