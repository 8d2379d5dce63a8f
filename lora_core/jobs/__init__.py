"""Many videos from one list: checked before any is made, shared out among workers, and not made twice."""
