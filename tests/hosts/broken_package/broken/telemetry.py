"""Starts a thread at import, as some packages do for their telemetry."""

import threading
import time

sender = threading.Thread(target=lambda: time.sleep(600), name="telemetry", daemon=True)
sender.start()
