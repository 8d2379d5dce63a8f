"""Rows: what a refiner is taught, requests with the answers to them, and what is wrong with them."""
