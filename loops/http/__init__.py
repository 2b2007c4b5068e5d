"""The HTTP gateway at the door."""
