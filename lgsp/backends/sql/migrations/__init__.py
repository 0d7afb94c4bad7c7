"""The forms that the tables had, as Alembic revisions: `versions/` holds a module for each, from the first kept one on.

A revision is named by the number of its form. It states `compatible`, the oldest form whose gateways may go on beside it: its own number when
they must not. It only adds (docs/adr/0019), in the words of Alembic, and never reads `tables`, which goes on changing.
"""
