"""What is computed of a model without training it."""
