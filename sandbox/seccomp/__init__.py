"""System call filters: assembler, installation, notifications."""
