"""How large the changes of a stack are, how they meet in the model, and what to do where they spoil each other."""
