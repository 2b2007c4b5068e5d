"""Sessions: tokens, keys, sealing and opening of frames, signed statements of clients. Pure."""
