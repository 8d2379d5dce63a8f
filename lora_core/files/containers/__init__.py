"""The containers that tensors come in, checked before anything in them is loaded."""
