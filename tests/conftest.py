"""Settings that hold for every test."""

from hypothesis import settings

# No deadline: that a machine is busy is no fault of the code. `max_examples` keeps the whole set within minutes.
settings.register_profile("wanloom", deadline=None, max_examples=50)
settings.load_profile("wanloom")
