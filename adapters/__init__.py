"""Systems of departments that speak to the bus; they know the SDK and nothing below it."""
