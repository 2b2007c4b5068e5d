"""Sessions: tokens, keys, sealing and opening of frames, and the signed statements of clients. Pure."""
