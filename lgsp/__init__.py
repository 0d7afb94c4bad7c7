"""LGSP Bus: systems of agencies exchange signed JSON envelopes through gateways that verify, authorise, validate, queue and record them."""
