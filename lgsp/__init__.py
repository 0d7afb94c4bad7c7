"""A provincial data-sharing bus: signed envelopes, grants, durable queues, a log that outsiders can check."""
