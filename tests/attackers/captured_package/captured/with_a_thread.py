"""Foreign code that starts a thread when it is imported, as many libraries do."""

import threading

from tlsrt import Component

threading.Thread(target=threading.Event().wait, daemon=True).start()


class Guest(Component):
    """Would run beside a thread that no filter holds."""
