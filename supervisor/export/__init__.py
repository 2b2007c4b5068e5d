"""The process that sends the log of a host to collectors."""
