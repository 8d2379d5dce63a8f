"""A made-up family of models, to show that a family is a folder and a row: Toy, which draws in 4 channels."""
