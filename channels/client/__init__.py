"""The client library: connection, session, calls, enrolment, lock."""
