"""WordNet as questions and answers, and the model trained on them."""
