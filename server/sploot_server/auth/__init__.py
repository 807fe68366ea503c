"""Accounts, tokens and the rate limit on wrong tokens."""
