"""Components for the attack tests: an attacker who owns its loop's process, and a victim that counts."""
