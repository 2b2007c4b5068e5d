"""What the SIP bridge speaks: messages, digests, session descriptions, SRTP and sound. No sockets and no clocks."""
