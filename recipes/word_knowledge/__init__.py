"""Questions and answers from WordNet, and the model trained on them."""
