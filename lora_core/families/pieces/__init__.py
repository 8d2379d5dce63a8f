"""What models of several families are made of: T5 text encoders with their tokenizers, and Wan's VAE."""
