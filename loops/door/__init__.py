"""The TLS door in the Primary loop: clients, enrolment, the locked door, the tarpit."""
