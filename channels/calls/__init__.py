"""Calls: requests and their answers, batching, streams, retries."""
