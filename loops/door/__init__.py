"""The TLS door in the Primary loop: connections of clients, enrolment, the locked door, the tarpit."""
