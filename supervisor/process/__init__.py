"""One child process, whatever runs in it: fork, event loop, timers, signals, control groups, attestation."""
