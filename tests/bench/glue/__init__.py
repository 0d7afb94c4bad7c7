"""What one would glue together instead: FastStream on RabbitMQ, joserfc, jsonschema. Signed messages, a verifying receiver, signed answers.

A durable quorum queue, persistent messages, confirms. No grants, no log, no receipts, no boxes: what a crash of either side loses is lost.
"""
