"""The evaluation of a model at several lengths: with and without a LoRA, with dense and with radial attention."""
