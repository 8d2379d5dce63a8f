"""The keys of a training, in groups, each checked when it is built."""
