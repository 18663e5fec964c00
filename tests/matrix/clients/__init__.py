"""The vendors' SDKs as clients of the router: one neutral question in, one neutral reply out."""
