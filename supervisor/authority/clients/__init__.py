"""External clients: certificates, challenges, enrolment, renewal, rights."""
