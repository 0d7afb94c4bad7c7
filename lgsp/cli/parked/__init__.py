"""`lgsp parked`: deliveries that wait for a person."""
