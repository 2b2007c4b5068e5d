"""Dispatch: received frames are opened, checked and handed to handlers; answers leave."""
