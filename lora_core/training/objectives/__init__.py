"""What is learnt from a batch: objectives, each a function of a network's call and a batch."""
