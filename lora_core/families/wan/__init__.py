"""The Wan family: Wan 2.1, Wan 2.2 and the pocket model that comes with the package."""
